-- The scope and its first generation, or neither (and then no number is drawn). A race ends in a unique violation.
WITH first AS (
    INSERT INTO dg_generation (tenant_id, generation, projection, state, epoch, epoch_token, cursor_seq, digest, version, ready)
    SELECT $1, nextval('dg_generation_shared_seq'), $2, 'live', 0, gen_random_uuid(), 0, '', $3, true
     WHERE NOT EXISTS (SELECT FROM dg_scope WHERE tenant_id = $1 AND projection = $2)
    RETURNING generation
)
INSERT INTO dg_scope (tenant_id, projection, epoch, epoch_token, generation, cursor_seq, digest, version)
SELECT $1, $2, 0, gen_random_uuid(), generation, 0, '', $3 FROM first
