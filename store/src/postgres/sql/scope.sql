-- Scopes: taken, given up, paused, and as readers see them.

-- name: acquire_look
-- Per scope of the lists: the owner, and the rest of its lease: null when it has left or restarted under its name, 0 when its lease begins
-- ahead of the clock (it was given before the clock was set back). Then the epoch to take it from, and the former writer's backend if it
-- is still there (a pid alone may have been given to another one; backend 0 is none). Last the scope's place in the lists.
SELECT s.owner_node, s.owner_incarnation,
       CASE WHEN n.not_before > clock_timestamp() THEN 0 ELSE extract(epoch FROM n.expires_at - clock_timestamp()) END::float8,
       s.epoch, s.epoch_token, a.pid, s.writer_started::text, k.place
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant_id, projection, place)
 CROSS JOIN LATERAL (SELECT * FROM dg_scope x WHERE x.tenant_id = k.tenant_id AND x.projection = k.projection LIMIT 1) AS s
  LEFT JOIN dg_node n ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation
  LEFT JOIN LATERAL pg_catalog.pg_stat_get_activity(coalesce(s.writer_pid, 0)) AS a ON a.backend_start = s.writer_started

-- name: acquire_take
-- Takes each scope of the lists with the epoch that was seen, unless its owner came back to life meanwhile. Runs on the session that will
-- write, and notes it. LIMIT keeps the planner from starting at the table; the conditions on the row itself hold after a wait for it, too.
UPDATE dg_scope s
   SET owner_node = k.node, owner_incarnation = k.incarnation, epoch = s.epoch + 1, epoch_token = k.token,
       writer_pid = pg_backend_pid(),
       writer_started = (SELECT a.backend_start FROM pg_catalog.pg_stat_get_activity(pg_backend_pid()) AS a)
  FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::uuid[])
       WITH ORDINALITY AS k (tenant_id, projection, node, incarnation, token, epoch, seen, place)
 CROSS JOIN LATERAL (SELECT x.ctid FROM dg_scope x WHERE x.tenant_id = k.tenant_id AND x.projection = k.projection LIMIT 1) AS f
 WHERE s.ctid = f.ctid AND s.tenant_id = k.tenant_id AND s.projection = k.projection AND s.epoch = k.epoch AND s.epoch_token = k.seen
   AND NOT EXISTS (SELECT FROM dg_node n
                    WHERE n.node = s.owner_node AND n.incarnation = s.owner_incarnation
                      AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
                      AND NOT (n.node = k.node AND n.incarnation = k.incarnation))
RETURNING s.epoch, s.generation, s.cursor_seq, s.digest, s.version,
          to_char(s.paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), s.paused_reason, s.paused_by,
          (SELECT string_agg(o.log_seq::text, ',') FROM dg_skip o
            WHERE o.tenant_id = s.tenant_id AND o.projection = s.projection AND o.revoked_at IS NULL),
          k.place

-- name: create
-- The scopes of the lists that do not exist, each with its first generation, or neither (and then no number is drawn). A race ends in a
-- unique violation. OFFSET keeps the look-up one per scope: as an anti-join, a plan from an empty table reads every scope.
WITH first AS (
    INSERT INTO dg_generation (tenant_id, generation, projection, state, epoch, epoch_token, cursor_seq, digest, version, ready)
    SELECT k.tenant_id, nextval('dg_generation_shared_seq'), k.projection, 'live', 0, gen_random_uuid(), 0, '', k.version, true
      FROM unnest($1::text[], $2::text[], $3::integer[]) AS k (tenant_id, projection, version)
     WHERE NOT EXISTS (SELECT FROM dg_scope s WHERE s.tenant_id = k.tenant_id AND s.projection = k.projection OFFSET 0)
    RETURNING tenant_id, projection, generation, version
)
INSERT INTO dg_scope (tenant_id, projection, epoch, epoch_token, generation, cursor_seq, digest, version)
SELECT tenant_id, projection, 0, gen_random_uuid(), generation, 0, '', version FROM first

-- name: end_former_writer
-- Waits up to five seconds for its end: until then it may hold the rows that the new owner needs.
SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a WHERE a.pid = $1 AND a.backend_start = $2::text::timestamptz

-- name: release
-- Waits for a commit that is under way. A new token voids the lease.
UPDATE dg_scope
   SET owner_node = NULL, owner_incarnation = NULL, writer_pid = NULL, writer_started = NULL, epoch_token = gen_random_uuid()
 WHERE tenant_id = $1 AND projection = $2 AND epoch = $3 AND epoch_token = $4

-- name: pause
-- Waits for a commit that is under way. An existing pause stays as it is, with its reason. A new epoch, without another owner: a worker
-- of the scope is fenced at its next commit, reads the scope again and sees the pause.
UPDATE dg_scope
   SET paused_at = clock_timestamp(), paused_reason = $3, paused_by = $4, epoch = epoch + 1, epoch_token = gen_random_uuid()
 WHERE tenant_id = $1 AND projection = $2 AND paused_at IS NULL

-- name: resume
UPDATE dg_scope SET paused_at = NULL, paused_reason = NULL, paused_by = NULL
 WHERE tenant_id = $1 AND projection = $2 AND paused_at IS NOT NULL

-- name: columns
SELECT s.tenant_id, s.projection, s.owner_node, n.node IS NOT NULL, s.epoch, s.epoch_token, s.generation, s.cursor_seq, s.digest,
       s.version, to_char(s.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       {age}, {pause_and_drift}
  FROM dg_scope s
  LEFT JOIN dg_node n
         ON n.node = s.owner_node AND n.incarnation = s.owner_incarnation
        AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()

-- name: one
{columns}
 WHERE s.tenant_id = $1 AND s.projection = $2

-- name: list
-- All scopes, or those of a tenant.
{columns}
 WHERE $1::text IS NULL OR s.tenant_id = $1

-- name: age
greatest(extract(epoch FROM clock_timestamp() - s.updated_at), 0)::float8

-- name: pause_and_drift
to_char(s.paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), s.paused_reason, s.paused_by, s.deviating,
CASE WHEN s.drift_generation = s.generation
     THEN to_char(s.drift_found_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END, s.drift_run

-- name: heads
-- $2 tenants behind $1 with all their scopes, by a stretch of the primary key; without the digests, which are most of a row.
SELECT s.tenant_id, s.projection, s.owner_node,
       EXISTS (SELECT FROM dg_node n
                WHERE n.node = s.owner_node AND n.incarnation = s.owner_incarnation
                  AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()),
       s.epoch, s.generation, s.cursor_seq, s.version, {age}, {pause_and_drift}
  FROM dg_scope s
 WHERE s.tenant_id > $1
   AND s.tenant_id <= (SELECT max(p.tenant_id)
                         FROM (SELECT DISTINCT tenant_id FROM dg_scope WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2) AS p)
 ORDER BY s.tenant_id, s.projection

-- name: digests
-- In the order of the scopes that are asked for, by their keys.
SELECT s.digest
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant_id, projection, place)
  LEFT JOIN LATERAL (SELECT d.digest FROM dg_scope d WHERE d.tenant_id = k.tenant_id AND d.projection = k.projection LIMIT 1) AS s ON true
 ORDER BY k.place

-- name: counts
-- One pass over the scopes, and one over the index of the open failures.
SELECT (SELECT count(*) FROM dg_failure WHERE resolved_at IS NULL),
       count(*) FILTER (WHERE paused_at IS NOT NULL),
       count(*) FILTER (WHERE deviating),
       count(*) FILTER (WHERE drift_generation = generation)
  FROM dg_scope

-- name: flipped_by
-- True when the scope's live generation is the one that this run built.
SELECT EXISTS (
    SELECT FROM dg_scope s
      JOIN dg_generation g ON g.tenant_id = s.tenant_id AND g.generation = s.generation
     WHERE s.tenant_id = $1 AND s.projection = $2 AND g.run_id = $3)

-- name: checkpoints
-- Newest first.
SELECT cursor_seq, generation, digest, version, previous, hash,
       to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_digest_checkpoint
 WHERE tenant_id = $1 AND projection = $2
 ORDER BY checkpoint_id DESC
 LIMIT $3
