-- Generations: begun, filled, flipped to, removed.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: begin
-- Empty, at the log's origin: under construction, or the first live one of a scope.
INSERT INTO dg_generation (tenant_id, projection, state, run_id, epoch, epoch_token, cursor, digest, version, created_at_ms)
VALUES (?1, ?2, ?3, ?4, 1, ?5, 0, x'', ?6, {now})
RETURNING generation

-- name: abandon
UPDATE dg_generation SET state = 'retired', retired_at_ms = {now}
WHERE tenant_id = ?1 AND projection = ?2 AND run_id = ?3 AND state = 'building'

-- name: resume_take
-- A new fence on this run's unfinished generation: a batch of its former writer is refused from here on.
UPDATE dg_generation SET epoch = epoch + 1, epoch_token = ?4
WHERE tenant_id = ?1 AND projection = ?2 AND run_id = ?3 AND state = 'building'
RETURNING epoch, generation, cursor, digest, version

-- name: lock
-- The writer's lock is held already. Rows and indexes are written together, so a build is always ready.
SELECT cursor, digest, version, 1, deviating FROM dg_generation
WHERE generation = ?1 AND state = 'building' AND epoch = ?2 AND epoch_token = ?3

-- name: flip_scope
SELECT generation, cursor, digest, version FROM dg_scope WHERE tenant_id = ?1 AND projection = ?2

-- name: flip_behind
-- True when the log holds an event of the tenant between a build's cursor and the live one.
SELECT EXISTS (SELECT 1 FROM dg_event_log WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3)

-- name: flip_retire
-- Before the promotion: one generation of a scope is live at a time, and an index enforces it.
UPDATE dg_generation SET state = 'retired', retired_at_ms = {now} WHERE generation = ?1

-- name: flip_promote
UPDATE dg_generation SET state = 'live' WHERE generation = ?1

-- name: flip_set_live
-- A new epoch without a new owner: a batch that the live worker prepared for the old generation is fenced.
UPDATE dg_scope
SET generation = ?3, cursor = ?4, digest = ?5, version = ?6, deviating = ?7, epoch = epoch + 1, epoch_token = randomblob(16),
    updated_at_ms = {now}
WHERE tenant_id = ?1 AND projection = ?2

-- name: sweep_retired
-- Oldest first.
SELECT generation, tenant_id, projection FROM dg_generation WHERE state = 'retired' ORDER BY generation

-- name: sweep_forget
DELETE FROM dg_generation WHERE generation = ?1 AND state = 'retired'
