UPDATE dg_run
   SET state = 'running', node = $2, incarnation = $3, cancel_requested = false, error_category = NULL, error_message = NULL,
       report = NULL, finished_at = NULL
 WHERE run_id = $1
