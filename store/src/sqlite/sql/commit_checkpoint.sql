-- A digest at a position, chained to the one before it.
INSERT INTO dg_digest_checkpoint (
    tenant_id, projection, checkpoint, cursor, generation, digest, version, previous_hash, hash, recorded_at_ms
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
