-- Batches: the fence, and the digest checkpoints.

-- name: commit_scope
-- The fence, and the last statement of a batch: the cursor moves only if no other process took the scope, flipped its generation or moved
-- its cursor since the batch was computed. No row: everything before it in this transaction is rolled back.
UPDATE dg_scope
SET cursor = ?7, digest = ?8, version = ?9, deviating = deviating OR ?10, updated_at_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE tenant_id = ?1 AND projection = ?2 AND cursor = ?3 AND epoch = ?4 AND epoch_token = ?5 AND generation = ?6

-- name: commit_build
-- The fence of a batch of a rebuild, on its generation's row.
UPDATE dg_generation
SET cursor = ?5, digest = ?6, version = ?7, deviating = deviating OR ?8
WHERE generation = ?1 AND state = 'building' AND epoch = ?2 AND epoch_token = ?3 AND cursor = ?4

-- name: scope_holds
-- The scope's fence as it is, for the error of a stale writer.
SELECT epoch, epoch_token, generation, cursor FROM dg_scope WHERE tenant_id = ?1 AND projection = ?2

-- name: checkpoint_last
-- The checkpoint that the next one is chained to.
SELECT checkpoint, hash FROM dg_digest_checkpoint WHERE tenant_id = ?1 AND projection = ?2 ORDER BY checkpoint DESC LIMIT 1

-- name: checkpoint_add
INSERT INTO dg_digest_checkpoint (
    tenant_id, projection, checkpoint, generation, cursor, version, digest, previous_hash, hash, recorded_at_ms
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, CAST(unixepoch('subsec') * 1000 AS INTEGER))

-- name: checkpoint_trim
DELETE FROM dg_digest_checkpoint WHERE tenant_id = ?1 AND projection = ?2 AND checkpoint <= ?3
