-- Processes with their leases, members of the cluster, and the operators' orders for them.

-- name: over
-- A lease that begins ahead of the clock was given before the clock was set back, and is over.
dg_node.incarnation = excluded.incarnation OR dg_node.expires_at <= clock_timestamp() OR dg_node.not_before > clock_timestamp()

-- name: heartbeat
-- First call and renewal alike. No row comes of it when another incarnation lives under the same name.
INSERT INTO dg_node (node, incarnation, not_before, expires_at, process)
VALUES ($1, $2, clock_timestamp() - make_interval(secs => $3), clock_timestamp() + make_interval(secs => $3), $4)
ON CONFLICT (node) DO UPDATE
   SET incarnation = excluded.incarnation, not_before = excluded.not_before, expires_at = excluded.expires_at,
       process = excluded.process
 WHERE {over}

-- name: join
-- A heartbeat with the facts about the node. Nodes that died more than a day ago are forgotten: their scopes have no live owner with or
-- without these rows.
WITH forgotten AS (
    DELETE FROM dg_node
     WHERE (expires_at < clock_timestamp() - interval '1 day' OR not_before > clock_timestamp() + interval '1 day') AND node <> $1
)
INSERT INTO dg_node (node, incarnation, not_before, expires_at, process, address, program, protocol)
VALUES ($1, $2, clock_timestamp() - make_interval(secs => $3), clock_timestamp() + make_interval(secs => $3), $4, $5, $6, $7)
ON CONFLICT (node) DO UPDATE
   SET incarnation = excluded.incarnation, not_before = excluded.not_before, expires_at = excluded.expires_at,
       process = excluded.process, address = excluded.address, program = excluded.program, protocol = excluded.protocol,
       joined_at = CASE WHEN dg_node.incarnation = excluded.incarnation THEN dg_node.joined_at ELSE excluded.joined_at END
 WHERE {over}
-- True when it is new: then the others are told.
RETURNING joined_at >= statement_timestamp()

-- name: notify
-- The members, or the operators' orders for them, have changed.
NOTIFY dg_node

-- name: leave
-- Without its row a node's lease is over: each of its scopes may be taken, at once and whatever their number.
DELETE FROM dg_node WHERE node = $1 AND incarnation = $2

-- name: bury
-- The row stays: it tells that the node died, and when.
UPDATE dg_node n SET expires_at = clock_timestamp()
 WHERE n.node = $1 AND n.incarnation = $2 AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()

-- name: processes
-- Processes whose leases run, and that name themselves exactly.
SELECT n.node, n.incarnation, n.process
  FROM dg_node n
 WHERE n.process IS NOT NULL AND n.expires_at > clock_timestamp()

-- name: end_lease
-- The row stays: of a node it tells that it died.
UPDATE dg_node n SET expires_at = clock_timestamp() WHERE n.node = $1 AND n.incarnation = $2 AND n.process = $3

-- name: forget
-- A node whose lease is over, with the operators' orders for it. A node that lives, or lives again, stays.
WITH forgotten AS (
    DELETE FROM dg_node n
     WHERE n.node = $1 AND (n.expires_at <= clock_timestamp() OR n.not_before > clock_timestamp())
    RETURNING n.node
), let_go AS (
    DELETE FROM dg_cordon c USING forgotten f WHERE c.node = f.node
)
SELECT node FROM forgotten

-- name: hand_over
-- Waits for commits that are under way. A new token voids the leases that still exist.
UPDATE dg_scope
   SET owner_node = NULL, owner_incarnation = NULL, writer_pid = NULL, writer_started = NULL, epoch_token = gen_random_uuid()
 WHERE tenant_id = ANY($3) AND owner_node = $1 AND owner_incarnation = $2

-- name: cordon
-- The latest call counts.
INSERT INTO dg_cordon (node, draining, reason, cordoned_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (node) DO UPDATE
   SET draining = excluded.draining, reason = excluded.reason, cordoned_by = excluded.cordoned_by, cordoned_at = clock_timestamp()

-- name: uncordon
DELETE FROM dg_cordon WHERE node = $1

-- name: list
-- Every node that joined and has not left, dead ones too, with the operators' orders for it.
SELECT n.node, n.incarnation, n.address, n.program, n.protocol,
       CASE WHEN n.not_before <= clock_timestamp() THEN extract(epoch FROM n.expires_at - clock_timestamp()) ELSE 0 END::float8,
       to_char(n.joined_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       c.draining, c.reason, c.cordoned_by, to_char(c.cordoned_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_node n
  LEFT JOIN dg_cordon c ON c.node = n.node
 WHERE n.protocol IS NOT NULL
 ORDER BY n.node

-- name: tenants_of
SELECT DISTINCT tenant_id FROM dg_scope WHERE owner_node = $1 AND owner_incarnation = $2
