-- An empty generation at the log's origin.
INSERT INTO dg_generation (
    tenant_id, projection, state, run_id, epoch, epoch_token, cursor, digest, version, created_at_ms
) VALUES (?1, ?2, ?3, ?4, 1, ?5, 0, x'', ?6, ?7)
