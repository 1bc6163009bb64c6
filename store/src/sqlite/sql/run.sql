-- Jobs, and the scopes that they claim.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: columns
SELECT r.run_id, r.tenant_id, r.projection, r.mode, r.state, r.node, {is_live},
       r.until_log_seq, r.current, r.cursor, r.target, r.events, r.cancel_requested,
       r.error_category, r.error_message, r.report,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.created_at_ms / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', r.finished_at_ms / 1000.0, 'unixepoch'), r.incarnation,
       r.reason, r.requested_by, r.metadata
FROM dg_run AS r
{node}

-- name: node
LEFT JOIN dg_node AS n ON n.node = r.node AND n.incarnation = r.incarnation

-- name: is_live
coalesce(n.expires_at_ms > {now} AND n.not_before_ms <= {now}, 0)

-- name: one
{columns}
WHERE r.run_id = ?1

-- name: lock
-- The writer's lock is held already.
{one}

-- name: list
-- Newest first. A job for all projections matches each one.
{columns}
WHERE (?1 IS NULL OR r.tenant_id = ?1) AND (?2 IS NULL OR r.projection IN (?2, 'all'))
  AND (NOT ?3 OR r.state IN ('queued', 'running'))
  AND (?5 IS NULL OR r.run < (SELECT before.run FROM dg_run AS before WHERE before.run_id = ?5))
ORDER BY r.run DESC
LIMIT ?4

-- name: create
INSERT INTO dg_run (run_id, tenant_id, projection, mode, state, node, incarnation, until_log_seq, reason, requested_by, metadata, created_at_ms)
VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?6, ?7, ?8, ?9, ?10, {now})

-- name: adopt
UPDATE dg_run
SET state = 'running', node = ?2, incarnation = ?3, cancel_requested = 0, error_category = NULL, error_message = NULL,
    report = NULL, finished_at_ms = NULL
WHERE run_id = ?1

-- name: advance
-- By the process that runs the job and no other.
UPDATE dg_run
SET current = ?4, cursor = ?5, target = ?6, events = ?7
WHERE run_id = ?1 AND node = ?2 AND incarnation = ?3 AND state = 'running'

-- name: finish
-- By the process that runs the job and no other.
UPDATE dg_run
SET state = ?4, report = ?5, error_category = ?6, error_message = ?7, finished_at_ms = {now}
WHERE run_id = ?1 AND node = ?2 AND incarnation = ?3 AND state = 'running'

-- name: cancel
-- ?2: no process is left to stop it.
UPDATE dg_run
SET cancel_requested = 1, state = iif(?2, 'cancelled', state), finished_at_ms = iif(?2, {now}, NULL)
WHERE run_id = ?1

-- name: orphan
-- A job that says `running` while its process is gone: it has failed, and blocks nothing.
UPDATE dg_run
SET state = 'failed', error_category = 'unavailable', error_message = 'the node that ran it is gone', finished_at_ms = {now}
WHERE run_id = ?1 AND state IN ('queued', 'running')

-- name: claim
-- A claim that the job has already stays.
INSERT INTO dg_run_claim (tenant_id, projection, run_id)
SELECT ?1, p.value, ?3 FROM json_each(?2) AS p
WHERE NOT EXISTS (SELECT 1 FROM dg_run_claim AS c WHERE c.tenant_id = ?1 AND c.projection = p.value AND c.run_id = ?3)

-- name: claim_holders
-- Other jobs that hold one of these scopes, and whether their process lives.
SELECT c.run_id, {is_live} AND r.state IN ('queued', 'running'), c.projection, r.node
FROM dg_run_claim AS c
JOIN dg_run AS r ON r.run_id = c.run_id
{node}
WHERE c.tenant_id = ?1 AND c.projection IN (SELECT value FROM json_each(?2)) AND c.run_id <> ?3
ORDER BY c.projection

-- name: unclaim
DELETE FROM dg_run_claim WHERE run_id = ?1

-- name: note_compared
-- Notes whether the scope of a projection (?4) drifted (?6), as a run found it: at the generation that it compared (?5), and while the run
-- is this process's.
UPDATE dg_scope
SET drift_generation = CASE WHEN ?6 THEN generation END,
    drift_found_at_ms = CASE WHEN ?6 THEN {now} END,
    drift_run = CASE WHEN ?6 THEN ?1 END
WHERE projection = ?4 AND generation = ?5 AND (?6 OR drift_generation IS NOT NULL)
  AND tenant_id = (SELECT tenant_id FROM dg_run WHERE run_id = ?1 AND node = ?2 AND incarnation = ?3 AND state = 'running')
