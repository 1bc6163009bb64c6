-- The sealed log: trees, leaves in chunks, nodes, signed notes, and events with every sealed column.

-- name: columns
-- `noted` is the last column: one backward step in the index of the notes, per tree.
SELECT s.tenant_id, s.tree, s.origin, s.size, s.root, s.log_seq, s.frontier, s.state,
       to_char(s.sealed_since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       (SELECT n.size FROM dg_seal_note n
         WHERE n.tenant_id = s.tenant_id AND n.tree = s.tree AND n.kind = 'checkpoint'
         ORDER BY n.tenant_id DESC, n.tree DESC, n.kind DESC, n.size DESC
         LIMIT 1)
  FROM dg_seal s

-- name: tree
{columns}
 WHERE s.tenant_id = $1 AND s.tree = $2

-- name: trees
{columns}
 WHERE s.tenant_id = $1
 ORDER BY s.tenant_id, s.tree

-- name: heads
-- The newest tree of each tenant: the one behind which the primary key has none. A tenant has few. OFFSET keeps that look-up one per row.
{columns}
 WHERE s.tenant_id > $1 AND NOT EXISTS (SELECT FROM dg_seal l WHERE l.tenant_id = s.tenant_id AND l.tree > s.tree OFFSET 0)
 ORDER BY s.tenant_id, s.tree
 LIMIT $2

-- name: begin
-- The first tree of a tenant that has none.
INSERT INTO dg_seal (tenant_id, tree, origin, size, log_seq, root, frontier, state)
SELECT $1::text, $2::bigint, $3::text, 0, 0, $4::bytea, ''::bytea, 'open'
 WHERE NOT EXISTS (SELECT FROM dg_seal s WHERE s.tenant_id = $1)
ON CONFLICT DO NOTHING

-- name: grow
-- Trees of several tenants, each if it is still what its batch grew from: otherwise its tenant is not returned. LIMIT keeps the planner
-- from starting at the table. After a wait for a row that moved meanwhile, its place is another, and nothing is updated. A tree begins
-- with its first batch, where the tenant has none; OFFSET keeps that look-up one per tenant.
WITH k AS (
    SELECT *
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bytea[], $9::bytea[])
           AS g (tenant_id, tree, origin, from_size, from_root, size, log_seq, root, frontier)
), begun AS (
    INSERT INTO dg_seal (tenant_id, tree, origin, size, log_seq, root, frontier, state)
    SELECT k.tenant_id, k.tree, k.origin, k.size, k.log_seq, k.root, k.frontier, 'open'
      FROM k
     WHERE k.from_size = 0 AND NOT EXISTS (SELECT FROM dg_seal s WHERE s.tenant_id = k.tenant_id OFFSET 0)
    ON CONFLICT DO NOTHING
    RETURNING tenant_id
), grown AS (
    UPDATE dg_seal s
       SET size = k.size, log_seq = k.log_seq, root = k.root, frontier = k.frontier
      FROM k
     CROSS JOIN LATERAL (SELECT x.ctid FROM dg_seal x WHERE x.tenant_id = k.tenant_id AND x.tree = k.tree LIMIT 1) AS f
     WHERE s.ctid = f.ctid AND s.size = k.from_size AND s.root = k.from_root AND s.state = 'open'
    RETURNING s.tenant_id
)
SELECT tenant_id FROM begun UNION ALL SELECT tenant_id FROM grown

-- name: add_chunks
-- Plain inserts: the head was checked, so a leaf that is there already was put there by hand.
INSERT INTO dg_seal_chunk (tenant_id, tree, first_index, events, first_log_seq, last_log_seq, positions, entries, salts)
SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::bigint[]), unnest($6::bigint[]),
       unnest($7::bytea[]), unnest($8::bytea[]), unnest($9::bytea[])

-- name: add_nodes
-- See `add_chunks`.
INSERT INTO dg_seal_node (tenant_id, tree, level, node_index, hash)
SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::bytea[])

-- name: add_note
-- In the order of the lists. A note that is there stays as it is.
INSERT INTO dg_seal_note (tenant_id, tree, kind, size, note_key, note)
SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::bigint[]), unnest($5::uuid[]), unnest($6::text[])
ON CONFLICT DO NOTHING

-- name: thin
-- A note goes when it is older than a day and the next one of its kind is of the same hour. One pass over the tenant's notes.
DELETE FROM dg_seal_note n
 USING (SELECT tree, number, signed_at, lead(signed_at) OVER (PARTITION BY tree, kind ORDER BY number) AS next_at
          FROM dg_seal_note
         WHERE tenant_id = $1 AND kind IN ('checkpoint', 'statement')) AS l
 WHERE n.tenant_id = $1 AND n.tree = l.tree AND n.number = l.number
   AND l.signed_at < clock_timestamp() - interval '1 day' AND date_trunc('hour', l.next_at) = date_trunc('hour', l.signed_at)

-- name: holds
-- Whether the lease still holds the scope. Asked first, for the error of a stale caller; `fence` decides.
SELECT 1 FROM dg_scope WHERE tenant_id = $1 AND projection = $2 AND epoch = $3 AND epoch_token = $4 AND generation = $5

-- name: fence
-- The last statement of a fork and of a repair, as of a batch: the lease holds, and the cursor goes back to $6, if that is given.
UPDATE dg_scope
   SET cursor_seq = coalesce($6::bigint, cursor_seq),
       updated_at = CASE WHEN $6::bigint IS NULL THEN updated_at ELSE clock_timestamp() END
 WHERE tenant_id = $1 AND projection = $2 AND epoch = $3 AND epoch_token = $4 AND generation = $5

-- name: end_tree
-- Only an open tree with this head.
UPDATE dg_seal SET state = 'closed' WHERE tenant_id = $1 AND tree = $2 AND size = $3 AND root = $4 AND state = 'open'

-- name: next_tree
INSERT INTO dg_seal (tenant_id, tree, origin, size, log_seq, root, frontier, state) VALUES ($1, $2, $3, $4, $5, $6, $7, 'open')

-- name: take_chunks
-- Copies the leaves of tree $2 up to leaf $4 into tree $3; the last of them is at position $5. The last chunk is cut.
INSERT INTO dg_seal_chunk (tenant_id, tree, first_index, events, first_log_seq, last_log_seq, positions, entries, salts)
SELECT c.tenant_id, $3::bigint, c.first_index, k.events, c.first_log_seq, CASE WHEN k.events < c.events THEN $5 ELSE c.last_log_seq END,
       substring(c.positions FROM 1 FOR 8 * k.events::integer), substring(c.entries FROM 1 FOR 64 * k.events::integer),
       substring(c.salts FROM 1 FOR 32 * k.events::integer)
  FROM dg_seal_chunk c
 CROSS JOIN LATERAL (SELECT least(c.events, $4 - c.first_index, 256) AS events) AS k
 WHERE (c.tenant_id, c.tree, c.first_index) >= ($1, $2, 0) AND (c.tenant_id, c.tree, c.first_index) < ($1, $2, $4)

-- name: leaves
-- Leaves of a tree that chunks have.
SELECT coalesce(sum(events), 0)::bigint FROM dg_seal_chunk WHERE tenant_id = $1 AND tree = $2

-- name: take_nodes
-- Copies the nodes of tree $2 that are full below leaf $4 into tree $3.
INSERT INTO dg_seal_node (tenant_id, tree, level, node_index, hash)
SELECT tenant_id, $3::bigint, level, node_index, hash
  FROM dg_seal_node
 WHERE tenant_id = $1 AND tree = $2 AND level BETWEEN 1 AND 7 AND node_index < ($4::bigint >> (8 * level)::integer)

-- name: drop_nodes
DELETE FROM dg_seal_node WHERE tenant_id = $1 AND tree = $2

-- name: repair
-- Only a tree of this size.
UPDATE dg_seal SET root = $4, frontier = $5 WHERE tenant_id = $1 AND tree = $2 AND size = $3

-- name: wal_position
-- Every commit that was acknowledged is flushed. (The end of the log's insertions may be one that nothing flushes.)
SELECT pg_catalog.pg_current_wal_flush_lsn()::text

-- name: standbys
-- A subscriber of logical replication is no standby.
SELECT count(*), count(*) FILTER (WHERE r.flush_lsn >= $1::text::pg_lsn)
  FROM pg_catalog.pg_stat_replication r
 WHERE r.state = 'streaming'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')

-- name: chunk_columns
-- One byte more than a chunk can have shows that a column is too long, and a row that was made by hand costs no memory.
c.first_index, c.events, c.first_log_seq, c.last_log_seq, substring(c.positions FROM 1 FOR 2049), substring(c.entries FROM 1 FOR 16385),
substring(c.salts FROM 1 FOR 8193)

-- name: chunks
-- From the last chunk that begins at or before leaf $3, if it has that leaf; otherwise from the next one. As triples: with plain equality
-- both indexes of the table look alike to a planner that has seen it empty.
SELECT {chunk_columns}
  FROM dg_seal_chunk c
 WHERE (c.tenant_id, c.tree, c.first_index) >= ($1, $2, coalesce((
          SELECT b.first_index FROM dg_seal_chunk b
           WHERE (b.tenant_id, b.tree, b.first_index) >= ($1, $2, 0) AND (b.tenant_id, b.tree, b.first_index) <= ($1, $2, $3)
           ORDER BY b.tenant_id DESC, b.tree DESC, b.first_index DESC
           LIMIT 1), $3))
   AND (c.tenant_id, c.tree, c.first_index) <= ($1, $2, 9223372036854775807)
   AND c.events > $3 - c.first_index
 ORDER BY c.tenant_id, c.tree, c.first_index
 LIMIT $4

-- name: chunk_at
-- One backward step in the index of positions. As triples; see `chunks`.
SELECT {chunk_columns}
  FROM dg_seal_chunk c
 WHERE (c.tenant_id, c.tree, c.first_log_seq) >= ($1, $2, 0) AND (c.tenant_id, c.tree, c.first_log_seq) <= ($1, $2, $3)
 ORDER BY c.tenant_id DESC, c.tree DESC, c.first_log_seq DESC
 LIMIT 1

-- name: nodes
SELECT level, node_index, hash
  FROM dg_seal_node
 WHERE (tenant_id, tree, level, node_index) >= ($1, $2, $3, $4) AND (tenant_id, tree, level, node_index) < ($1, $2, $3, $5)
 ORDER BY tenant_id, tree, level, node_index

-- name: notes
-- Backwards through the primary key, before number $4.
SELECT number, tree, kind, size, note, to_char(signed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_seal_note
 WHERE (tenant_id, tree, number) >= ($1, $2, 0) AND (tenant_id, tree, number) < ($1, $2, $4) AND ($3::text IS NULL OR kind = $3)
 ORDER BY tenant_id DESC, tree DESC, number DESC
 LIMIT $5

-- name: recorded_us
-- Exact: extract gives a numeric. A time beyond the integers, or infinity, is the nearest of them; nobody's clock showed it.
least(greatest(extract(epoch FROM recorded_at) * 1000000, -9223372036854775808), 9223372036854775807)::bigint

-- name: logged_columns
log_seq, {recorded_us}, tenant_id, event_id, trace_id, trace_seq, event_type, occurred_at, producer_id, source_system, source_subsystem,
actor_type, actor_id, idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload, payload_hash, event_key,
trace_key, idempotency_uid

-- name: logged_bytes
octet_length(payload)::bigint + octet_length(tenant_id) + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
+ octet_length(occurred_at) + octet_length(producer_id) + octet_length(source_system)
+ coalesce(octet_length(source_subsystem), 0) + octet_length(actor_type) + octet_length(actor_id)
+ octet_length(idempotency_key) + coalesce(octet_length(correlation_id), 0)
+ coalesce(octet_length(causation_event_id), 0) + octet_length(tags) + octet_length(payload_hash)

-- name: events_of_tenant
-- As pairs; see `page` of the log.
FROM dg_event_log
WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
ORDER BY tenant_id, log_seq

-- name: logged
-- The next events of a tenant with every sealed column and those that follow from them. Bounded as `page` of the log.
SELECT {logged_columns}
  FROM (SELECT p.*, sum(p.size) OVER (ORDER BY p.tenant_id, p.log_seq ROWS UNBOUNDED PRECEDING) - p.size AS before
          FROM (SELECT *, {logged_bytes} AS size
                  {events_of_tenant}
                 LIMIT $4) AS p) AS q
 WHERE (before = 0 OR before + size <= $5::bigint) AND size <= $6
 ORDER BY tenant_id, log_seq

-- name: logged_small
-- The same, where so many events fit into a page if each has at most $5 bytes of text: a larger one comes without its texts, and the page
-- ends before it. For pages without one, which are nearly all, this costs less than the running sum; see `page_small` of the log.
SELECT log_seq, {recorded_us}, CASE WHEN small THEN tenant_id END, CASE WHEN small THEN event_id END, CASE WHEN small THEN trace_id END,
       trace_seq, CASE WHEN small THEN event_type END, CASE WHEN small THEN occurred_at END, CASE WHEN small THEN producer_id END,
       CASE WHEN small THEN source_system END, CASE WHEN small THEN source_subsystem END, CASE WHEN small THEN actor_type END,
       CASE WHEN small THEN actor_id END, CASE WHEN small THEN idempotency_key END, CASE WHEN small THEN correlation_id END,
       CASE WHEN small THEN causation_event_id END, schema_version, CASE WHEN small THEN tags END, CASE WHEN small THEN payload END,
       CASE WHEN small THEN payload_hash END, event_key, trace_key, idempotency_uid
  FROM (SELECT *, {logged_bytes} <= $5 AS small
          {events_of_tenant}
         LIMIT $4) AS p

-- name: logged_size
-- The next event and the bytes of its texts: asked where a page came back without an event, which may have been too large for it.
SELECT log_seq, {logged_bytes}
  {events_of_tenant}
 LIMIT 1
