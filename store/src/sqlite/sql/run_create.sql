-- A job that runs from now on.
INSERT INTO dg_run (run_id, tenant_id, projection, mode, state, node, incarnation, until_log_seq, created_at_ms)
VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?6, ?7, ?8)
