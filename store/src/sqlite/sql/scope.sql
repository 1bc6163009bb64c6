-- Scopes: taken, given up, paused, and as readers see them.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: acquire_look
-- The owner, and the rest of its lease: null when it has left or restarted under its name, 0 when its lease begins ahead of the clock (it
-- was given before the clock was set back).
SELECT s.owner_node, s.owner_incarnation, iif(n.not_before_ms > {now}, 0, n.expires_at_ms - {now}) / 1000.0
FROM dg_scope AS s
LEFT JOIN dg_node AS n ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation
WHERE s.tenant_id = ?1 AND s.projection = ?2

-- name: acquire_take
-- A new owner and a new epoch in one statement: a batch of the former owner is fenced from here on.
UPDATE dg_scope
SET owner_node = ?3, owner_incarnation = ?4, epoch = epoch + 1, epoch_token = ?5
WHERE tenant_id = ?1 AND projection = ?2
RETURNING epoch, generation, cursor, digest, version,
          strftime('%Y-%m-%dT%H:%M:%fZ', paused_at_ms / 1000.0, 'unixepoch'), paused_reason, paused_by,
          (SELECT group_concat(o.log_seq) FROM dg_skip AS o INDEXED BY dg_skip_active
           WHERE o.tenant_id = ?1 AND o.projection = ?2 AND o.revoked_at_ms IS NULL)

-- name: create
-- At the log's origin. An empty digest is the digest of no rows.
INSERT INTO dg_scope (tenant_id, projection, epoch, epoch_token, generation, cursor, digest, version, updated_at_ms)
VALUES (?1, ?2, 0, randomblob(16), ?3, 0, x'', ?4, {now})

-- name: release
-- A new token voids the lease.
UPDATE dg_scope SET owner_node = NULL, owner_incarnation = NULL, epoch_token = randomblob(16)
WHERE tenant_id = ?1 AND projection = ?2 AND epoch = ?3 AND epoch_token = ?4

-- name: pause
-- An existing pause stays as it is, with its reason. A new epoch, without another owner: a worker of the scope is fenced at its next
-- commit, reads the scope again and sees the pause.
UPDATE dg_scope
SET paused_at_ms = {now}, paused_reason = ?3, paused_by = ?4, epoch = epoch + 1, epoch_token = randomblob(16)
WHERE tenant_id = ?1 AND projection = ?2 AND paused_at_ms IS NULL

-- name: resume
UPDATE dg_scope SET paused_at_ms = NULL, paused_reason = NULL, paused_by = NULL
WHERE tenant_id = ?1 AND projection = ?2 AND paused_at_ms IS NOT NULL

-- name: is_live
coalesce(n.expires_at_ms > {now} AND n.not_before_ms <= {now}, 0)

-- name: columns
SELECT s.tenant_id, s.projection, s.owner_node, {is_live}, s.epoch, s.epoch_token, s.generation, s.cursor, s.digest, s.version,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.updated_at_ms / 1000.0, 'unixepoch'), {age}, {pause_and_drift}
FROM dg_scope AS s
LEFT JOIN dg_node AS n ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation

-- name: one
{columns}
WHERE s.tenant_id = ?1 AND s.projection = ?2

-- name: list
-- All scopes, or those of a tenant.
{columns}
WHERE ?1 IS NULL OR s.tenant_id = ?1

-- name: age
max(0, {now} - s.updated_at_ms) / 1000.0

-- name: pause_and_drift
strftime('%Y-%m-%dT%H:%M:%fZ', s.paused_at_ms / 1000.0, 'unixepoch'), s.paused_reason, s.paused_by, s.deviating,
CASE WHEN s.drift_generation = s.generation
     THEN strftime('%Y-%m-%dT%H:%M:%fZ', s.drift_found_at_ms / 1000.0, 'unixepoch') END, s.drift_run

-- name: heads
-- ?2 tenants behind ?1 with all their scopes; without the digests, which are most of a row.
SELECT s.tenant_id, s.projection, s.owner_node, {is_live}, s.epoch, s.generation, s.cursor, s.version, {age}, {pause_and_drift}
FROM dg_scope AS s
LEFT JOIN dg_node AS n ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation
WHERE s.tenant_id IN (SELECT DISTINCT tenant_id FROM dg_scope WHERE tenant_id > ?1 ORDER BY tenant_id LIMIT ?2)
ORDER BY s.tenant_id, s.projection

-- name: digests
-- Of one scope: the program asks for each of a page.
SELECT digest FROM dg_scope WHERE tenant_id = ?1 AND projection = ?2

-- name: counts
SELECT (SELECT count(*) FROM dg_failure WHERE resolved_at_ms IS NULL),
       count(paused_at_ms),
       count(*) FILTER (WHERE deviating),
       count(*) FILTER (WHERE drift_generation = generation)
FROM dg_scope

-- name: flipped_by
-- True when the scope's live generation is the one that this run built.
SELECT EXISTS (
    SELECT 1 FROM dg_scope AS s
      JOIN dg_generation AS g ON g.generation = s.generation
     WHERE s.tenant_id = ?1 AND s.projection = ?2 AND g.run_id = ?3)

-- name: checkpoints
-- Newest first.
SELECT cursor, generation, digest, version, previous_hash, hash, strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at_ms / 1000.0, 'unixepoch')
FROM dg_digest_checkpoint
WHERE tenant_id = ?1 AND projection = ?2
ORDER BY checkpoint DESC
LIMIT ?3
