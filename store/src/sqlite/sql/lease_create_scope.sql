-- A scope at the log's origin. An empty digest is the digest of no rows.
INSERT INTO dg_scope (tenant_id, projection, epoch, epoch_token, generation, cursor, digest, version, updated_at_ms)
VALUES (?1, ?2, 0, ?3, ?4, 0, x'', ?5, ?6)
