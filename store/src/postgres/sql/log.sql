-- The log: appended to, read, and its end.

-- name: look_up_key
-- The event under an idempotency key k. LATERAL with LIMIT: one index look-up a key, whatever the planner believes of the log's size.
-- The key is asked for as a range of one, and in its order: with plain equality every index that begins with the tenant looks alike to a
-- planner that has seen the table empty, and its plan is kept.
-- Columns by name: a role that only appends may not read payloads.
CROSS JOIN LATERAL (
      SELECT l.log_seq, l.event_id, l.trace_id, l.event_type, l.producer_id, l.source_system, l.source_subsystem, l.actor_type, l.actor_id,
             l.idempotency_key, l.correlation_id, l.causation_event_id, l.schema_version, l.tags, l.payload_hash, l.trace_seq
        FROM dg_event_log l
       WHERE l.tenant_id = k.tenant_id AND l.idempotency_uid BETWEEN k.uid AND k.uid
         AND l.producer_id = k.producer_id AND l.idempotency_key = k.idempotency_key
       ORDER BY l.idempotency_uid LIMIT 1) AS e

-- name: look_up_id
-- The event with the id of k; see `look_up_key`.
CROSS JOIN LATERAL (
      SELECT 1 FROM dg_event_log l
       WHERE l.tenant_id = k.tenant_id AND l.event_key BETWEEN k.event_key AND k.event_key AND l.event_id = k.event_id
       ORDER BY l.event_key LIMIT 1) AS e

-- name: look_up_trace
-- The last event of the trace k. By (tenant, trace, trace_seq), the index that a wrong guess would collide with.
LEFT JOIN LATERAL (
      SELECT l.trace_seq, l.event_type FROM dg_event_log l
       WHERE l.tenant_id = k.tenant_id AND l.trace_key BETWEEN k.trace_key AND k.trace_key AND l.trace_id = k.trace_id
       ORDER BY l.trace_key DESC, l.trace_seq DESC
       LIMIT 1) AS e ON true

-- name: append_idempotency
-- What is stored under these idempotency keys, with the fields that a legal repeat must equal.
SELECT e.log_seq, e.event_id, e.trace_id, e.event_type, e.producer_id, e.source_system, e.source_subsystem, e.actor_type, e.actor_id,
       e.idempotency_key, e.correlation_id, e.causation_event_id, e.schema_version, e.tags, e.payload_hash, e.trace_seq, k.tenant_id
  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) AS k (tenant_id, uid, producer_id, idempotency_key)
 {look_up_key}

-- name: append_trace
-- The greatest trace_seq of each trace, and whether that event finished it.
SELECT k.tenant_id, k.trace_id, e.trace_seq, e.event_type = 'TraceFinished'
  FROM unnest($1::text[], $2::uuid[], $3::text[]) AS k (tenant_id, trace_key, trace_id)
 {look_up_trace}
 WHERE e.trace_seq IS NOT NULL

-- name: append_event_id
-- Which of these event ids are taken.
SELECT k.tenant_id, k.event_id
  FROM unnest($1::text[], $2::uuid[], $3::text[]) AS k (tenant_id, event_key, event_id)
 {look_up_id}

-- name: append_turns
-- Takes the turns of traces, one after the other, until the end of the transaction. Appends that draw the numbers of a trace follow one
-- another. Nothing of the log is locked before, so that nobody who waits here holds the mark.
SELECT t.turn
  FROM unnest($1::int[]) AS k
 CROSS JOIN LATERAL (SELECT x.turn FROM dg_trace_turn x WHERE x.turn = k FOR UPDATE) AS t

-- name: move_lock
-- Held until the end of the move. An append waits for it before it draws a position. Sessions that read are not kept out.
LOCK TABLE dg_event_log IN SHARE ROW EXCLUSIVE MODE

-- name: move_ready
-- True when the database has events, or a projection that saw some; and the last position that was drawn.
SELECT EXISTS (SELECT FROM dg_event_log) OR EXISTS (SELECT FROM dg_scope WHERE cursor_seq > 0),
       CASE WHEN is_called THEN last_value ELSE 0 END
  FROM dg_event_log_log_seq_seq

-- name: move_taken
SELECT log_seq FROM dg_event_log WHERE log_seq = ANY ($1::bigint[])

-- name: move_insert
-- Events with the positions and times that they bring. The positions count as drawn after `move_sequence`, before the commit: nothing else
-- draws meanwhile, and no mark passes the move, which holds the lock of an INSERT.
INSERT INTO dg_event_log ({insert_columns}, log_seq, recorded_at) OVERRIDING SYSTEM VALUE
SELECT {insert_values}, unnest($22::bigint[]), timestamptz 'epoch' + unnest($23::bigint[]) * interval '1 microsecond'

-- name: move_sequence
SELECT nextval('dg_event_log_log_seq_seq')

-- name: append_insert
-- One statement, so that a batch is stored whole or not at all without BEGIN and COMMIT. log_seq is drawn here, by the INSERT, after
-- the statement holds its lock on the log: the high-water mark rests on that order.
{insert_events}
RETURNING log_seq

-- name: append_new
-- The same, if the log is where the events continue it: each trace's last trace_seq is the expected one (-1 for none) and does not finish
-- it, and no id and no key is taken. The conditions are asked once, before the first row: then nothing is drawn, and nothing returned.
{insert_events}
 WHERE (SELECT bool_and(coalesce(e.trace_seq, -1) = k.latest AND e.event_type IS DISTINCT FROM 'TraceFinished')
          FROM (SELECT unnest($22::text[]) AS tenant_id, unnest($23::uuid[]) AS trace_key, unnest($24::text[]) AS trace_id,
                       unnest($25::bigint[]) AS latest) AS k
         {look_up_trace})
   AND NOT EXISTS (SELECT FROM (SELECT unnest($1::text[]) AS tenant_id, unnest($4::uuid[]) AS event_key, unnest($7::text[]) AS event_id) AS k
                   {look_up_id})
   AND NOT EXISTS (SELECT FROM (SELECT unnest($1::text[]) AS tenant_id, unnest($6::uuid[]) AS uid, unnest($11::text[]) AS producer_id,
                                       unnest($16::text[]) AS idempotency_key) AS k
                   {look_up_key})
RETURNING log_seq

-- name: insert_events
-- unnest in the SELECT list gives the elements in their order, those of all lists in step, and a row at a time. As a table it would first
-- copy each list, which costs a third of the statement. So the events of a batch get their positions in the order in which they were
-- offered, and RETURNING answers in it.
INSERT INTO dg_event_log ({insert_columns})
SELECT {insert_values}

-- name: insert_columns
tenant_id, trace_seq, schema_version, event_key, trace_key, idempotency_uid, event_id, trace_id, event_type, occurred_at,
producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id, causation_event_id,
tags, payload_hash, payload

-- name: insert_values
unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::uuid[]), unnest($5::uuid[]), unnest($6::uuid[]),
unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]),
unnest($13::text[]), unnest($14::text[]), unnest($15::text[]), unnest($16::text[]), unnest($17::text[]), unnest($18::text[]),
unnest($19::text[]), unnest($20::text[]), unnest($21::text[])

-- name: notify
-- A statement of its own, after the commit of the append: see wake.rs.
NOTIFY dg_event_log

-- name: page_columns
log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash

-- name: page_size
octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
+ octet_length(occurred_at) + octet_length(actor_type) + octet_length(actor_id) + octet_length(payload_hash)

-- name: events_of_tenant
-- As pairs; see `page`.
FROM dg_event_log
WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
ORDER BY tenant_id, log_seq

-- name: page
-- The next events of a tenant, as a projection reads them. Keyset paging on the primary key; compared as pairs, because with plain
-- equality a planner that has seen the log empty may go by the index on log_seq alone, and read everybody's events. The running sum
-- bounds the bytes of a page on the server, over all texts that are read: a client that just stopped reading would still be sent the
-- rest. (octet_length does not unpack a text.) An event larger than $6 is not sent: the page ends before it, see `event_size`.
-- The comments in it give way to the columns of metadata.rs, if a projection reads them.
SELECT {page_columns} /* metadata */
  FROM (SELECT p.*, sum(p.size) OVER (ORDER BY p.tenant_id, p.log_seq ROWS UNBOUNDED PRECEDING) - p.size AS before
          FROM (SELECT tenant_id, {page_columns} /* metadata */,
                       {page_size} /* metadata bytes */ AS size
                  {events_of_tenant}
                 LIMIT $4) AS p) AS q
 WHERE (before = 0 OR before + size <= $5::bigint) AND size <= $6
 ORDER BY tenant_id, log_seq

-- name: page_small
-- The next events of a tenant, where so many of them fit into a page if each has at most $5 bytes of text. A larger one comes without its
-- texts, and the page ends before it. For pages without one, which are nearly all, this costs less than the running sum of `page`; the
-- rest is as there. (The inner LIMIT keeps the size from being computed for each column again.)
SELECT log_seq, CASE WHEN small THEN event_id END, CASE WHEN small THEN trace_id END, trace_seq, CASE WHEN small THEN event_type END,
       CASE WHEN small THEN occurred_at END, CASE WHEN small THEN actor_type END, CASE WHEN small THEN actor_id END,
       CASE WHEN small THEN payload END, CASE WHEN small THEN payload_hash END /* small metadata */
  FROM (SELECT {page_columns} /* metadata */,
               {page_size} /* metadata bytes */ <= $5 AS small
          {events_of_tenant}
         LIMIT $4) AS p

-- name: heads
-- The latest event of each trace at or below a position: one backward step in (tenant, trace, log_seq) a trace. No aggregate over
-- history, no map of all traces. Equality on the trace, so that log_seq bounds the scan too: as a range of one, a look-up in the middle of
-- a long trace would walk back from its end. (The migration V003 sees to it that the trace's index is the one.)
SELECT k.trace_id, e.trace_seq
  FROM unnest($2::uuid[], $3::text[]) AS k (trace_key, trace_id)
 CROSS JOIN LATERAL (
       SELECT l.trace_seq FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key = k.trace_key AND l.trace_id = k.trace_id AND l.log_seq <= $4
        ORDER BY l.log_seq DESC
        LIMIT 1) AS e

-- name: history
-- The events of some types of some traces. OFFSET 0 keeps the look-up a trace at a time. Equality on the trace, so that log_seq bounds the
-- scan too; see `heads`.
SELECT e.log_seq, e.event_id, e.trace_id, e.trace_seq, e.event_type, e.occurred_at, e.actor_type, e.actor_id, e.payload, e.payload_hash /* metadata */
  FROM unnest($2::uuid[], $3::text[]) AS k (trace_key, trace_id)
 CROSS JOIN LATERAL (
       SELECT * FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key = k.trace_key AND l.trace_id = k.trace_id AND l.log_seq <= $4
          AND l.event_type = ANY ($5::text[])
        OFFSET 0) AS e
 ORDER BY e.log_seq

-- name: event_columns
log_seq, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), event_id, trace_id, trace_seq, event_type,
occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id,
causation_event_id, schema_version, tags, payload, payload_hash

-- name: event_bytes
octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
+ octet_length(occurred_at) + octet_length(producer_id) + octet_length(source_system)
+ coalesce(octet_length(source_subsystem), 0) + octet_length(actor_type) + octet_length(actor_id)
+ octet_length(idempotency_key) + coalesce(octet_length(correlation_id), 0)
+ coalesce(octet_length(causation_event_id), 0) + octet_length(tags) + octet_length(payload_hash)

-- name: chosen
-- The condition of a choice among the events that an index finds.
($4::text[] IS NULL OR event_type = ANY ($4)) AND ($5::text IS NULL OR actor_type = $5) AND ($6::text IS NULL OR actor_id = $6)

-- name: chosen_of_tenant
-- As pairs; see `page`.
FROM dg_event_log
WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3) AND {chosen}
ORDER BY tenant_id, log_seq

-- name: chosen_of_trace
-- As triples: with plain equality a planner that has seen the log empty may go by the index on log_seq alone; see `page`.
FROM dg_event_log
WHERE (tenant_id, trace_key, log_seq) > ($1, $7, $2) AND (tenant_id, trace_key, log_seq) <= ($1, $7, $3) AND trace_id = $8 AND {chosen}
ORDER BY tenant_id, trace_key, log_seq

-- name: events
-- Events with all that is stored of them. Keyset paging on the primary key, as pairs, and a running sum of their bytes; see `page`.
-- found: how many there are, up to $7, whether or not their bytes fit.
SELECT {event_columns}, found
  FROM (SELECT p.*, count(*) OVER () AS found,
               sum(p.size) OVER (ORDER BY p.tenant_id, p.log_seq ROWS UNBOUNDED PRECEDING) - p.size AS before
          FROM (SELECT *, {event_bytes} AS size
                  {chosen_of_tenant}
                 LIMIT $7) AS p) AS q
 WHERE (before = 0 OR before + size <= $8::bigint) AND size <= $9
 ORDER BY tenant_id, log_seq

-- name: event_size
-- The next event of a choice and the bytes of its texts: asked where a page came back without an event, which may have
-- been too large for it.
SELECT log_seq, {event_bytes}
  {chosen_of_tenant}
 LIMIT 1

-- name: trace_events
-- The events of one trace. By (tenant, trace, log_seq), bounded by their bytes; see `events`.
SELECT {event_columns}, found
  FROM (SELECT p.*, count(*) OVER () AS found,
               sum(p.size) OVER (ORDER BY p.tenant_id, p.trace_key, p.log_seq ROWS UNBOUNDED PRECEDING) - p.size AS before
          FROM (SELECT *, {event_bytes} AS size
                  {chosen_of_trace}
                 LIMIT $9) AS p) AS q
 WHERE (before = 0 OR before + size <= $10::bigint) AND size <= $11
 ORDER BY tenant_id, trace_key, log_seq

-- name: trace_event_size
-- The next event of a trace and the bytes of its texts; see `event_size`.
SELECT log_seq, {event_bytes}
  {chosen_of_trace}
 LIMIT 1

-- name: position_of
-- As a range of one; see `look_up_key`.
SELECT log_seq FROM dg_event_log
 WHERE tenant_id = $1 AND event_key BETWEEN $2 AND $2 AND event_id = $3
 ORDER BY event_key
 LIMIT 1

-- name: nth_position
-- A count along the primary key, without the events.
SELECT log_seq
  {events_of_tenant}
 LIMIT 1 OFFSET $4

-- name: nth_position_of_trace
-- A count along the index of traces, as triples; see `chosen_of_trace`. By the hash alone: it bounds the work, and decides nothing.
SELECT log_seq FROM dg_event_log
 WHERE (tenant_id, trace_key, log_seq) > ($1, $2, $3) AND (tenant_id, trace_key, log_seq) <= ($1, $2, $4)
 ORDER BY tenant_id, trace_key, log_seq
 LIMIT 1 OFFSET $5

-- name: starts
-- Backwards through the index of starts. As pairs, see `page`; positions begin at 1.
SELECT log_seq, trace_id FROM dg_event_log
 WHERE (tenant_id, log_seq) > ($1, 0) AND (tenant_id, log_seq) < ($1, $2) AND trace_seq = 0
 ORDER BY tenant_id DESC, log_seq DESC
 LIMIT $3

-- name: trace_ends
-- Look-ups a trace: its event 0 (as triples, see `chosen_of_trace`), the latest at or below a position (see `heads`), and one of some
-- types. That is no EXISTS, which the server would answer for all traces at once, from the whole log.
SELECT k.trace_id, s.log_seq, s.occurred_at, s.actor_type, s.actor_id, s.tags, e.log_seq, e.trace_seq, e.event_type, e.occurred_at
  FROM unnest($2::uuid[], $3::text[]) AS k (trace_key, trace_id)
 CROSS JOIN LATERAL (
       SELECT l.log_seq, l.occurred_at, l.actor_type, l.actor_id, l.tags FROM dg_event_log l
        WHERE (l.tenant_id, l.trace_key, l.trace_seq) >= ($1, k.trace_key, 0) AND (l.tenant_id, l.trace_key, l.trace_seq) <= ($1, k.trace_key, 0)
          AND l.trace_id = k.trace_id
        ORDER BY l.tenant_id, l.trace_key, l.trace_seq
        LIMIT 1) AS s
 CROSS JOIN LATERAL (
       SELECT l.log_seq, l.trace_seq, l.event_type, l.occurred_at FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key = k.trace_key AND l.trace_id = k.trace_id AND l.log_seq <= $4
        ORDER BY l.log_seq DESC
        LIMIT 1) AS e
 WHERE $5::text[] IS NULL OR (
       SELECT l.log_seq FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key = k.trace_key AND l.trace_id = k.trace_id AND l.log_seq <= $4
          AND l.event_type = ANY ($5)
        ORDER BY l.log_seq
        LIMIT 1) IS NOT NULL

-- name: last_log_seq
-- One backward step in the primary key. As pairs, see `page`; positions begin at 1.
SELECT log_seq FROM dg_event_log
 WHERE (tenant_id, log_seq) > ($1, 0) AND (tenant_id, log_seq) <= ($1, $2)
 ORDER BY tenant_id DESC, log_seq DESC
 LIMIT 1

-- name: lags
-- Counted up to a bound: the cost of asking must not grow with the lag. The age is that of the oldest event that is not applied. As pairs,
-- see `page`.
SELECT (SELECT count(*) FROM (SELECT FROM dg_event_log l
                               WHERE (l.tenant_id, l.log_seq) > (s.tenant_id, s.cursor_seq) AND (l.tenant_id, l.log_seq) <= (s.tenant_id, $3)
                               ORDER BY l.tenant_id, l.log_seq LIMIT $4) AS c),
       (SELECT greatest(extract(epoch FROM clock_timestamp() - l.recorded_at), 0)::float8 FROM dg_event_log l
         WHERE (l.tenant_id, l.log_seq) > (s.tenant_id, s.cursor_seq) AND (l.tenant_id, l.log_seq) <= (s.tenant_id, $3)
         ORDER BY l.tenant_id, l.log_seq LIMIT 1)
  FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS s (tenant_id, cursor_seq, place)
 ORDER BY s.place

-- name: count_events
-- Counted up to a bound; see `lag`.
SELECT count(*) FROM (SELECT FROM dg_event_log
                       WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
                       ORDER BY tenant_id, log_seq LIMIT $4) AS c

-- name: tenants
-- Every tenant that has events: one step in the primary key a tenant, not one an event.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT tenant_id FROM tenants WHERE tenant_id IS NOT NULL ORDER BY tenant_id COLLATE "C"

-- name: strays
-- Tenants of the log that are none (see TenantId), each with its first event: one step in the primary key a tenant. Nothing is looked at
-- where the schema has kept them out from the first row on.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log
      WHERE NOT EXISTS (SELECT FROM pg_constraint
                         WHERE conrelid = 'dg_event_log'::regclass AND conname = 'dg_event_log_tenant' AND convalidated)
      ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, e.log_seq
  FROM tenants t
 CROSS JOIN LATERAL (SELECT l.log_seq FROM dg_event_log l WHERE l.tenant_id = t.tenant_id ORDER BY l.tenant_id, l.log_seq LIMIT 1) AS e
 WHERE octet_length(t.tenant_id) NOT BETWEEN 1 AND 200
 LIMIT $1

-- name: broken_rules
-- Rules of the schema that rows from before the rule break: `migrate` proves a rule as soon as no row breaks it. (That of the log's tenants
-- is told row by row, see `strays`.)
SELECT c.conrelid::regclass::text, c.conname::text, pg_get_expr(c.conbin, c.conrelid)
  FROM pg_constraint c
  JOIN pg_class t ON t.oid = c.conrelid
 WHERE c.contype = 'c' AND NOT c.convalidated AND c.conname LIKE 'dg\_%' AND c.conname <> 'dg_event_log_tenant'
   AND c.connamespace = current_schema()::regnamespace
 ORDER BY t.relname, c.conname

-- name: tenant_heads
-- $2 tenants behind $1 that have events or scopes: per tenant one step in each primary key to find it, one backward step to its last event
-- (as pairs, see `page`), and its projections by their key (the seal is none). Without ORDER BY, as in `tenants_behind`. A row whose
-- tenant no program could have written is left out.
WITH RECURSIVE tenants AS (
    SELECT least((SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > $1 ORDER BY l.tenant_id LIMIT 1),
                 (SELECT s.tenant_id FROM dg_scope s WHERE s.tenant_id > $1 ORDER BY s.tenant_id LIMIT 1)) AS tenant_id
    UNION ALL
    SELECT least((SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1),
                 (SELECT s.tenant_id FROM dg_scope s WHERE s.tenant_id > t.tenant_id ORDER BY s.tenant_id LIMIT 1))
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, coalesce(e.log_seq, 0), s.scopes, s.cursor_seq, s.paused
  FROM tenants t
  LEFT JOIN LATERAL (
       SELECT l.log_seq FROM dg_event_log l
        WHERE (l.tenant_id, l.log_seq) > (t.tenant_id, 0) AND (l.tenant_id, l.log_seq) <= (t.tenant_id, 9223372036854775807)
        ORDER BY l.tenant_id DESC, l.log_seq DESC
        LIMIT 1) AS e ON true
 CROSS JOIN LATERAL (
       SELECT count(*) AS scopes, min(s.cursor_seq) AS cursor_seq, count(s.paused_at) AS paused
         FROM dg_scope s WHERE s.tenant_id = t.tenant_id AND s.projection <> 'seal') AS s
 WHERE octet_length(t.tenant_id) BETWEEN 1 AND 200
 LIMIT $2

-- name: last_log_seqs
-- Every tenant that has events, and its last one: one backward step in the primary key a tenant, from the last tenant to the first. (The
-- last event of all tenants before one is the last event of the tenant before it.)
WITH RECURSIVE ends AS (
    (SELECT tenant_id, log_seq FROM dg_event_log ORDER BY tenant_id DESC, log_seq DESC LIMIT 1)
    UNION ALL
    SELECT e.tenant_id, e.log_seq
      FROM ends t
     CROSS JOIN LATERAL (
           SELECT l.tenant_id, l.log_seq FROM dg_event_log l
            WHERE l.tenant_id < t.tenant_id
            ORDER BY l.tenant_id DESC, l.log_seq DESC
            LIMIT 1) AS e
)
SELECT tenant_id, log_seq FROM ends ORDER BY tenant_id COLLATE "C"

-- name: tenants_with_events
-- Who has events in a stretch of the log, by the index on log_seq alone, which ORDER BY and OFFSET 0 hold the planner to: grouping
-- along the primary key would read everybody's history. What is no tenant (see TenantId) is left out before the page is counted.
SELECT tenant_id, max(log_seq) AS last
  FROM (SELECT tenant_id, log_seq FROM dg_event_log WHERE log_seq > $1 AND log_seq <= $2 ORDER BY log_seq OFFSET 0) AS stretch
 WHERE octet_length(tenant_id) BETWEEN 1 AND 200
 GROUP BY tenant_id
 ORDER BY last
 LIMIT $3

-- name: tenants_behind
-- Who has work to do: per tenant one step in the primary key to find it, one backward step to its last event (as pairs, see `page`),
-- and its scopes by their key. Without ORDER BY: the recursion gives tenants in order, one at a time, and stops with the LIMIT; sorting
-- would look at all of them for each page. What is no tenant (see TenantId) is left out before the page is counted.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log WHERE tenant_id > $2 ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, e.log_seq
  FROM tenants t
 CROSS JOIN LATERAL (
       SELECT l.log_seq FROM dg_event_log l
        WHERE (l.tenant_id, l.log_seq) > (t.tenant_id, 0) AND (l.tenant_id, l.log_seq) <= (t.tenant_id, $1)
        ORDER BY l.tenant_id DESC, l.log_seq DESC
        LIMIT 1) AS e
 WHERE octet_length(t.tenant_id) BETWEEN 1 AND 200
   AND (SELECT count(*) FROM dg_scope s
         WHERE s.tenant_id = t.tenant_id AND s.projection = ANY ($3::text[])
           AND (s.cursor_seq >= e.log_seq OR s.paused_at IS NOT NULL)) < cardinality($3::text[])
 LIMIT $4

-- name: history_name
-- The identity of a history: system, timeline, start of the server, start of its statistics, database.
(SELECT system_identifier FROM pg_catalog.pg_control_system())::text || '/' ||
CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby'
     ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END || '/' ||
pg_catalog.pg_postmaster_start_time()::text || '/' ||
coalesce(pg_catalog.pg_stat_get_bgwriter_stat_reset_time()::text, '') || '/' ||
(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())::text

-- name: log_end
-- The conditions that the mark rests on, the identity of this history, and the end of the sequence. Only functions that any role may call.
-- The identity: system, timeline, start of the server, start of its statistics, database. When one backend dies, the postmaster starts
-- all others anew and keeps its own start time; positions that were drawn and not yet written are then drawn again. The server discards
-- its statistics at every such start ("Viewing Statistics" in the manual of PostgreSQL), so their start tells these histories apart.
-- (An administrator who resets them makes readers prove the mark again, nothing else.)
-- The sequence is not transactional: it says what was drawn, committed or not. The locks are asked for later, in a statement of their own.
SELECT pg_catalog.pg_is_in_recovery(),
       (SELECT s.seqcache FROM pg_catalog.pg_sequence s
         WHERE s.seqrelid = pg_catalog.pg_get_serial_sequence('dg_event_log', 'log_seq')::regclass::oid),
       (SELECT a.attidentity::text FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = 'dg_event_log'::regclass::oid AND a.attname = 'log_seq'),
       {history_name},
       last_value, is_called
  FROM dg_event_log_log_seq_seq

-- name: open_writers
-- Who may still deliver: holders of RowExclusiveLock on the log or a partition of it (an INSERT straight into a partition locks the
-- partition only), in this database. By virtual transaction, because a prepared transaction has no process: it keeps the id that
-- it ran under. All of them, or those of $1 that are still open. A prepared transaction that a restart recovered has a new id (-1/xid), and
-- nobody knows here which one it had: it counts as asked for.
WITH RECURSIVE log AS (
    SELECT 'dg_event_log'::regclass::oid AS relation
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN log ON i.inhparent = log.relation
)
SELECT l.virtualtransaction, min(l.pid),
       min(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)))::float8,
       min(coalesce(a.query, 'PREPARE TRANSACTION ' || quote_literal(p.gid))),
       min(coalesce(a.usename, p.owner)::text), min(a.application_name),
       -- A lock is waited for as long as its holder waits.
       coalesce(bool_or(a.wait_event = 'SyncRep' OR a.wait_event_type = 'Lock'
                        AND EXISTS (SELECT FROM pg_stat_activity s WHERE s.wait_event = 'SyncRep' AND s.datid = a.datid)), false)
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN LATERAL (
       SELECT x.prepared, x.gid, x.owner
         FROM pg_locks t JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
        WHERE l.pid IS NULL AND t.locktype = 'transactionid' AND t.virtualtransaction = l.virtualtransaction
        LIMIT 1) AS p ON true
 WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.relation IN (SELECT relation FROM log)
   AND ($1::text[] IS NULL OR l.virtualtransaction = ANY ($1::text[]) OR l.virtualtransaction LIKE '-1/%')
 GROUP BY l.virtualtransaction

-- name: writable
-- What may stand in the way of writes, as far as the server says so. Sessions of other roles show no wait.
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('transaction_read_only') = 'on',
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
         WHERE a.wait_event = 'SyncRep' AND a.state_change < clock_timestamp() - interval '1 second'),
       pg_catalog.current_setting('synchronous_standby_names')

-- name: session
-- Of a session that writes: its backend, and the history of its server in the words of `log_end`. Asked once: a server that starts
-- anew ends its sessions, and one that was promoted had none that could write.
SELECT pg_catalog.pg_backend_pid(),
       {history_name}
