-- The job runs again, by another process; what it counted stays.
UPDATE dg_run
SET state = 'running', node = ?2, incarnation = ?3, cancel_requested = 0, error_category = NULL, error_message = NULL,
    finished_at_ms = NULL
WHERE run_id = ?1
