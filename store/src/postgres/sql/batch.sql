-- Batches: the fence, and the digest checkpoints.

-- name: commit_scope
-- The fences of live batches. A function, because it must raise: the server then aborts the transaction, whatever the client does.
SELECT dg_commit_scope(b.tenant_id, b.projection, b.seen, b.cursor_seq, b.epoch, b.token, b.generation, b.digest, b.version)
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::uuid[], $7::bigint[], $8::bytea[], $9::integer[])
       AS b (tenant_id, projection, seen, cursor_seq, epoch, token, generation, digest, version)

-- name: commit_build
-- The fence of a batch of a rebuild; see `commit_scope`.
SELECT dg_commit_build($1, $2, $3, $4, $5, $6, $7, $8)

-- name: scope_holds
-- Whether the scope is still where the batch was computed.
SELECT 1 FROM dg_scope
 WHERE tenant_id = $1 AND projection = $2 AND cursor_seq = $3 AND epoch = $4 AND epoch_token = $5 AND generation = $6

-- name: build_holds
-- Whether the generation under construction is still where the batch was computed.
SELECT 1 FROM dg_generation
 WHERE tenant_id = $1 AND generation = $2 AND state = 'building' AND epoch = $3 AND epoch_token = $4 AND cursor_seq = $5

-- name: deviate_scope
-- Under the same epoch as the fence that follows: a stale writer marks nothing.
UPDATE dg_scope SET deviating = true
 WHERE tenant_id = $1 AND projection = $2 AND epoch = $3 AND epoch_token = $4 AND NOT deviating

-- name: deviate_build
UPDATE dg_generation SET deviating = true
 WHERE tenant_id = $1 AND generation = $2 AND epoch = $3 AND epoch_token = $4 AND NOT deviating

-- name: checkpoint_last
-- The checkpoint that the next one is chained to. Two writers may read the same one; the fence at the end of the batch stops the
-- one that has been replaced.
SELECT hash FROM dg_digest_checkpoint WHERE tenant_id = $1 AND projection = $2 ORDER BY checkpoint_id DESC LIMIT 1

-- name: checkpoint_add
INSERT INTO dg_digest_checkpoint (tenant_id, projection, generation, cursor_seq, version, digest, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: checkpoint_trim
-- Keeps the newest $3. The subquery is null, and nothing goes, while there are fewer.
DELETE FROM dg_digest_checkpoint
 WHERE tenant_id = $1 AND projection = $2
   AND checkpoint_id <= (SELECT checkpoint_id FROM dg_digest_checkpoint
                          WHERE tenant_id = $1 AND projection = $2
                          ORDER BY checkpoint_id DESC OFFSET $3 LIMIT 1)
