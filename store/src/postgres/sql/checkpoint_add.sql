INSERT INTO dg_digest_checkpoint (tenant_id, projection, generation, cursor_seq, version, digest, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
