UPDATE dg_run SET state = $4, report = $5, error_category = $6, error_message = $7, finished_at = clock_timestamp()
 WHERE run_id = $1 AND node = $2 AND incarnation = $3 AND state = 'running'
