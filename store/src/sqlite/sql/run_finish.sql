-- The end of a job, by the process that runs it and nobody else.
UPDATE dg_run
SET state = ?4, report = ?5, error_category = ?6, error_message = ?7, finished_at_ms = ?8
WHERE run_id = ?1 AND node = ?2 AND incarnation = ?3 AND state = 'running'
