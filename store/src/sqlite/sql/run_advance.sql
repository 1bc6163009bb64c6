-- Progress, by the process that runs the job and nobody else.
UPDATE dg_run
SET current = ?4, cursor = ?5, target = ?6, events = ?7
WHERE run_id = ?1 AND node = ?2 AND incarnation = ?3 AND state = 'running'
