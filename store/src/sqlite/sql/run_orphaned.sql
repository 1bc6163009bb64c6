-- A job that says `running` while its process is gone: it has failed, and blocks nothing.
UPDATE dg_run
SET state = 'failed', error_category = ?2, error_message = ?3, finished_at_ms = ?4
WHERE run_id = ?1 AND state IN ('queued', 'running')
