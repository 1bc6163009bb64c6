-- Jobs, and the scopes that they claim.

-- name: columns
SELECT r.run_id, r.tenant_id, r.projection, r.mode, r.state, r.node, n.node IS NOT NULL, r.until_seq, r.current_projection, r.cursor_seq,
       r.target_seq, r.events, r.cancel_requested, r.error_category, r.error_message, r.report,
       to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(r.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), r.incarnation,
       r.reason, r.requested_by, r.metadata
  FROM dg_run r
  {live_node}

-- name: live_node
LEFT JOIN dg_node n ON n.node = r.node AND n.incarnation = r.incarnation
      AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()

-- name: one
{columns}
 WHERE r.run_id = $1

-- name: lock
-- Locks the job, not its node's row: a renewal must not wait.
{one}
   FOR UPDATE OF r

-- name: list
-- Newest first. A job for all projections matches each one.
{columns}
 WHERE ($1::text IS NULL OR r.tenant_id = $1) AND ($2::text IS NULL OR r.projection IN ($2, 'all'))
   AND (NOT $3 OR r.state IN ('queued', 'running'))
   AND ($5::uuid IS NULL OR (r.created_at, r.run_id) < (SELECT b.created_at, b.run_id FROM dg_run b WHERE b.run_id = $5))
 ORDER BY r.created_at DESC, r.run_id DESC
 LIMIT $4

-- name: create
INSERT INTO dg_run (run_id, tenant_id, projection, projections, mode, state, node, incarnation, until_seq, reason, requested_by, metadata)
VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $8, $9, $10, $11)

-- name: adopt
UPDATE dg_run
   SET state = 'running', node = $2, incarnation = $3, cancel_requested = false, error_category = NULL, error_message = NULL,
       report = NULL, finished_at = NULL
 WHERE run_id = $1

-- name: advance
-- By the process that runs the job and no other.
UPDATE dg_run SET current_projection = $4, cursor_seq = $5, target_seq = $6, events = $7
 WHERE run_id = $1 AND node = $2 AND incarnation = $3 AND state = 'running'

-- name: finish
-- By the process that runs the job and no other.
UPDATE dg_run SET state = $4, report = $5, error_category = $6, error_message = $7, finished_at = clock_timestamp()
 WHERE run_id = $1 AND node = $2 AND incarnation = $3 AND state = 'running'

-- name: cancel
-- $2: no process is left to stop it.
UPDATE dg_run
   SET cancel_requested = true,
       state = CASE WHEN $2 THEN 'cancelled' ELSE state END,
       finished_at = CASE WHEN $2 THEN clock_timestamp() END
 WHERE run_id = $1

-- name: orphan
-- A job that says `running` while its process is gone: it has failed, and blocks nothing.
UPDATE dg_run
   SET state = 'failed', error_category = 'unavailable', error_message = 'the node that ran it is gone', finished_at = clock_timestamp()
 WHERE run_id = $1 AND state IN ('queued', 'running')

-- name: claim
-- A claim that the job has already stays. Another job's claim is a unique violation: it was faster.
INSERT INTO dg_run_claim (tenant_id, projection, run_id)
SELECT $1, p, $3 FROM unnest($2::text[]) AS p
 WHERE NOT EXISTS (SELECT FROM dg_run_claim c WHERE c.tenant_id = $1 AND c.projection = p AND c.run_id = $3)

-- name: claim_holders
-- Other jobs that hold one of these scopes, and whether their node lives. The job's row is locked first and alone, as the process
-- that ends it does: claims are deleted under that lock, so the two cannot wait for each other.
SELECT c.run_id, n.node IS NOT NULL AND r.state IN ('queued', 'running'), c.projection, r.node
  FROM dg_run_claim c
  JOIN dg_run r ON r.run_id = c.run_id
  {live_node}
 WHERE c.tenant_id = $1 AND c.projection = ANY ($2::text[]) AND c.run_id <> $3
 ORDER BY c.projection
   FOR UPDATE OF r

-- name: unclaim
DELETE FROM dg_run_claim WHERE run_id = $1

-- name: note_compared
-- Notes which of these scopes drifted and which did not, as one run found them: at the generation that it compared, and while the run is
-- this process's.
UPDATE dg_scope s
   SET drift_generation = CASE WHEN found.drifted THEN s.generation END,
       drift_found_at = CASE WHEN found.drifted THEN clock_timestamp() END,
       drift_run = CASE WHEN found.drifted THEN r.run_id END
  FROM unnest($4::text[], $5::bigint[], $6::boolean[]) AS found (projection, generation, drifted), dg_run r
 WHERE r.run_id = $1 AND r.node = $2 AND r.incarnation = $3 AND r.state = 'running'
   AND s.tenant_id = r.tenant_id AND s.projection = found.projection AND s.generation = found.generation
   AND (found.drifted OR s.drift_generation IS NOT NULL)
