UPDATE dg_run
   SET state = 'failed', error_category = 'unavailable', error_message = 'the node that ran it is gone', finished_at = clock_timestamp()
 WHERE run_id = $1 AND state IN ('queued', 'running')
