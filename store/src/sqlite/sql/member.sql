-- Processes with their leases, members of the cluster, and the operators' orders for them.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: over
-- A lease that begins ahead of the clock was given before the clock was set back, and is over.
dg_node.incarnation = excluded.incarnation OR dg_node.expires_at_ms <= {now} OR dg_node.not_before_ms > {now}

-- name: heartbeat
-- First call and renewal alike. No row comes of it when another incarnation lives under the same name.
INSERT INTO dg_node (node, incarnation, not_before_ms, expires_at_ms, process)
VALUES (?1, ?2, {now} - ?3, {now} + ?3, ?4)
ON CONFLICT (node) DO UPDATE
SET incarnation = excluded.incarnation, not_before_ms = excluded.not_before_ms, expires_at_ms = excluded.expires_at_ms,
    process = excluded.process
WHERE {over}

-- name: forget_long_dead
-- Nodes that died more than a day ago: their scopes have no live owner with or without these rows.
DELETE FROM dg_node WHERE (expires_at_ms < {now} - 86400000 OR not_before_ms > {now} + 86400000) AND node <> ?1

-- name: join
-- A heartbeat with the facts about the node.
INSERT INTO dg_node (node, incarnation, not_before_ms, expires_at_ms, process, address, program, protocol, joined_at_ms)
VALUES (?1, ?2, {now} - ?3, {now} + ?3, ?4, ?5, ?6, ?7, {now})
ON CONFLICT (node) DO UPDATE
SET incarnation = excluded.incarnation, not_before_ms = excluded.not_before_ms, expires_at_ms = excluded.expires_at_ms,
    process = excluded.process, address = excluded.address, program = excluded.program, protocol = excluded.protocol,
    joined_at_ms = CASE WHEN dg_node.incarnation = excluded.incarnation THEN dg_node.joined_at_ms ELSE excluded.joined_at_ms END
WHERE {over}

-- name: leave
-- Without its row a node's lease is over: each of its scopes may be taken, at once and whatever their number.
DELETE FROM dg_node WHERE node = ?1 AND incarnation = ?2

-- name: bury
-- The row stays: it tells that the node died, and when.
UPDATE dg_node SET expires_at_ms = {now}
WHERE node = ?1 AND incarnation = ?2 AND expires_at_ms > {now} AND not_before_ms <= {now}

-- name: processes
-- Processes whose leases run, and that name themselves exactly.
SELECT node, incarnation, process FROM dg_node WHERE process IS NOT NULL AND expires_at_ms > {now}

-- name: end_lease
-- The row stays: of a node it tells that it died.
UPDATE dg_node SET expires_at_ms = {now} WHERE node = ?1 AND incarnation = ?2 AND process = ?3

-- name: forget
-- A node whose lease is over. A node that lives, or lives again, stays.
DELETE FROM dg_node WHERE node = ?1 AND (expires_at_ms <= {now} OR not_before_ms > {now}) RETURNING node

-- name: hand_over
-- A new token voids the leases that still exist.
UPDATE dg_scope
SET owner_node = NULL, owner_incarnation = NULL, epoch_token = randomblob(16)
WHERE tenant_id IN (SELECT value FROM json_each(?3)) AND owner_node = ?1 AND owner_incarnation = ?2

-- name: cordon
-- The latest call counts.
INSERT INTO dg_cordon (node, draining, reason, cordoned_by, cordoned_at_ms) VALUES (?1, ?2, ?3, ?4, {now})
ON CONFLICT (node) DO UPDATE
SET draining = excluded.draining, reason = excluded.reason, cordoned_by = excluded.cordoned_by, cordoned_at_ms = excluded.cordoned_at_ms

-- name: uncordon
DELETE FROM dg_cordon WHERE node = ?1

-- name: list
-- Every node that joined and has not left, dead ones too, with the operators' orders for it.
SELECT n.node, n.incarnation, n.address, n.program, n.protocol, iif(n.not_before_ms <= {now}, n.expires_at_ms - {now}, 0) / 1000.0,
       strftime('%Y-%m-%dT%H:%M:%fZ', n.joined_at_ms / 1000.0, 'unixepoch'), c.draining, c.reason, c.cordoned_by,
       strftime('%Y-%m-%dT%H:%M:%fZ', c.cordoned_at_ms / 1000.0, 'unixepoch')
FROM dg_node AS n
LEFT JOIN dg_cordon AS c ON c.node = n.node
WHERE n.protocol IS NOT NULL
ORDER BY n.node

-- name: tenants_of
SELECT DISTINCT tenant_id FROM dg_scope WHERE owner_node = ?1 AND owner_incarnation = ?2
