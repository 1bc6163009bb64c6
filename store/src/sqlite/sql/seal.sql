-- The sealed log: trees, leaves in chunks, nodes, signed notes, and events with every sealed column.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: columns
-- `noted` is the last column: one backward step in the index of the notes, per tree.
SELECT s.tenant_id, s.tree, s.origin, s.size, s.root, s.log_seq, s.frontier, s.state,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.sealed_since_ms / 1000.0, 'unixepoch'),
       (SELECT max(n.size) FROM dg_seal_note AS n INDEXED BY dg_seal_note_once
        WHERE n.tenant_id = s.tenant_id AND n.tree = s.tree AND n.kind = 'checkpoint')
FROM dg_seal AS s

-- name: tree
{columns}
WHERE s.tenant_id = ?1 AND s.tree = ?2

-- name: trees
{columns}
WHERE s.tenant_id = ?1
ORDER BY s.tree

-- name: heads
-- The newest tree of each tenant: the one behind which the primary key has none. A tenant has few.
{columns}
WHERE s.tenant_id > ?1 AND NOT EXISTS (SELECT 1 FROM dg_seal AS l WHERE l.tenant_id = s.tenant_id AND l.tree > s.tree)
ORDER BY s.tenant_id, s.tree
LIMIT ?2

-- name: begin
-- The first tree of a tenant that has none.
INSERT INTO dg_seal (tenant_id, tree, origin, size, log_seq, root, frontier, state, sealed_since_ms)
SELECT ?1, ?2, ?3, 0, 0, ?4, x'', 'open', {now}
WHERE NOT EXISTS (SELECT 1 FROM dg_seal WHERE tenant_id = ?1)

-- name: grow
-- Only a tree that is still what the batch grew from. A tree that begins with its first batch is made by `begin` before.
UPDATE dg_seal SET size = ?5, log_seq = ?6, root = ?7, frontier = ?8
WHERE tenant_id = ?1 AND tree = ?2 AND size = ?3 AND root = ?4 AND state = 'open'

-- name: add_chunks
-- Plain inserts: the head was checked, so a leaf that is there already was put there by hand.
INSERT INTO dg_seal_chunk (tenant_id, tree, first_index, events, first_log_seq, last_log_seq, positions, entries, salts)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)

-- name: add_nodes
-- See `add_chunks`.
INSERT INTO dg_seal_node (tenant_id, tree, level, node_index, hash) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: add_note
-- A note that is there stays as it is.
INSERT INTO dg_seal_note (tenant_id, tree, kind, size, note_key, note, signed_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, {now})
ON CONFLICT DO NOTHING

-- name: thin
-- A note goes when it is older than a day and the next one of its kind is of the same hour. One pass over the tenant's notes.
DELETE FROM dg_seal_note
WHERE tenant_id = ?1 AND number IN (
    SELECT number
    FROM (SELECT number, signed_at_ms, lead(signed_at_ms) OVER (PARTITION BY tree, kind ORDER BY number) AS next_at_ms
          FROM dg_seal_note
          WHERE tenant_id = ?1 AND kind IN ('checkpoint', 'statement'))
    WHERE signed_at_ms < {now} - 86400000 AND next_at_ms / 3600000 = signed_at_ms / 3600000)

-- name: fence
-- The lease holds, and the cursor goes back to ?6, if that is given. One writer: no other statement of the transaction can change that.
UPDATE dg_scope SET cursor = coalesce(?6, cursor), updated_at_ms = iif(?6 IS NULL, updated_at_ms, {now})
WHERE tenant_id = ?1 AND projection = ?2 AND epoch = ?3 AND epoch_token = ?4 AND generation = ?5

-- name: end_tree
-- Only an open tree with this head.
UPDATE dg_seal SET state = 'closed' WHERE tenant_id = ?1 AND tree = ?2 AND size = ?3 AND root = ?4 AND state = 'open'

-- name: next_tree
INSERT INTO dg_seal (tenant_id, tree, origin, size, log_seq, root, frontier, state, sealed_since_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', {now})

-- name: take_chunks
-- Copies the leaves of tree ?2 up to leaf ?4 into tree ?3; the last of them is at position ?5. The last chunk is cut.
INSERT INTO dg_seal_chunk (tenant_id, tree, first_index, events, first_log_seq, last_log_seq, positions, entries, salts)
SELECT tenant_id, ?3, first_index, min(events, ?4 - first_index, 256), first_log_seq,
       iif(events <= ?4 - first_index, last_log_seq, ?5),
       substr(positions, 1, 8 * min(events, ?4 - first_index, 256)), substr(entries, 1, 64 * min(events, ?4 - first_index, 256)),
       substr(salts, 1, 32 * min(events, ?4 - first_index, 256))
FROM dg_seal_chunk INDEXED BY dg_seal_chunk_leaf
WHERE tenant_id = ?1 AND tree = ?2 AND first_index >= 0 AND first_index < ?4

-- name: leaves
-- Leaves of a tree that chunks have.
SELECT coalesce(sum(events), 0) FROM dg_seal_chunk WHERE tenant_id = ?1 AND tree = ?2

-- name: take_nodes
-- Copies the nodes of tree ?2 that are full below leaf ?4 into tree ?3.
INSERT INTO dg_seal_node (tenant_id, tree, level, node_index, hash)
SELECT tenant_id, ?3, level, node_index, hash
FROM dg_seal_node
WHERE tenant_id = ?1 AND tree = ?2 AND level BETWEEN 1 AND 7 AND node_index < (?4 >> (8 * level))

-- name: drop_nodes
DELETE FROM dg_seal_node WHERE tenant_id = ?1 AND tree = ?2

-- name: repair
-- Only a tree of this size.
UPDATE dg_seal SET root = ?4, frontier = ?5 WHERE tenant_id = ?1 AND tree = ?2 AND size = ?3

-- name: chunk_columns
-- One byte more than a chunk can have shows that a column is too long, and a row that was made by hand costs no memory.
first_index, events, first_log_seq, last_log_seq, substr(positions, 1, 2049), substr(entries, 1, 16385), substr(salts, 1, 8193)

-- name: chunks
-- From the last chunk that begins at or before leaf ?3, if it has that leaf; otherwise from the next one.
SELECT {chunk_columns}
FROM dg_seal_chunk INDEXED BY dg_seal_chunk_leaf
WHERE tenant_id = ?1 AND tree = ?2 AND events > ?3 - first_index
  AND first_index >= coalesce((SELECT max(b.first_index) FROM dg_seal_chunk AS b INDEXED BY dg_seal_chunk_leaf
                               WHERE b.tenant_id = ?1 AND b.tree = ?2 AND b.first_index BETWEEN 0 AND ?3), ?3)
ORDER BY first_index
LIMIT ?4

-- name: chunk_at
-- One backward step in the index of positions.
SELECT {chunk_columns}
FROM dg_seal_chunk INDEXED BY dg_seal_chunk_position
WHERE tenant_id = ?1 AND tree = ?2 AND first_log_seq BETWEEN 0 AND ?3
ORDER BY first_log_seq DESC
LIMIT 1

-- name: nodes
SELECT level, node_index, hash
FROM dg_seal_node
WHERE tenant_id = ?1 AND tree = ?2 AND level = ?3 AND node_index >= ?4 AND node_index < ?5
ORDER BY node_index

-- name: notes
-- Backwards through the index of numbers, before number ?4.
SELECT number, tree, kind, size, note, strftime('%Y-%m-%dT%H:%M:%fZ', signed_at_ms / 1000.0, 'unixepoch')
FROM dg_seal_note INDEXED BY dg_seal_note_latest
WHERE tenant_id = ?1 AND tree = ?2 AND number < ?4 AND (?3 IS NULL OR kind = ?3)
ORDER BY number DESC
LIMIT ?5

-- name: logged
-- The next events of a tenant with every sealed column and those that follow from them, as `page` of the log reads them: a payload of more
-- than ?5 bytes is not loaded. A time beyond the integers is the nearest of them; nobody's clock showed it.
SELECT log_seq, max(min(recorded_at_ms, 9223372036854775), -9223372036854775) * 1000, tenant_id, event_id, trace_id, trace_seq, event_type,
       occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id,
       causation_event_id, schema_version, tags, CASE WHEN octet_length(payload) <= ?5 THEN payload END, payload_hash, event_key,
       trace_key, idempotency_uid, octet_length(payload)
FROM dg_event_log INDEXED BY dg_event_log_position
WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3
ORDER BY log_seq
LIMIT ?4
