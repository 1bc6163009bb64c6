-- The log: appended to, read, and its end.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: append_idempotency
-- The event that is stored under an idempotency key, with all that a legal repeat must equal. The hash finds it, the caller compares the
-- text.
SELECT log_seq, event_id, trace_id, event_type, producer_id, source_system, source_subsystem, actor_type, actor_id,
       idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload_hash, trace_seq
FROM dg_event_log
WHERE tenant_id = ?1 AND idempotency_uid = ?2

-- name: append_trace
-- A trace's latest event: the next number, and true when the trace is finished.
SELECT trace_id, trace_seq, event_type = 'TraceFinished'
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2
ORDER BY log_seq DESC
LIMIT 1

-- name: append_event_id
SELECT event_id FROM dg_event_log WHERE tenant_id = ?1 AND event_key = ?2

-- name: append_insert
-- One event. The position is drawn here, after every check: a refused event leaves no gap. An event of a log that moves brings its
-- position, which then counts as drawn, and its time.
INSERT INTO dg_event_log (
    tenant_id, event_id, trace_id, trace_seq, event_type, occurred_at, producer_id, source_system, source_subsystem,
    actor_type, actor_id, idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload_hash,
    event_key, trace_key, idempotency_uid, payload, log_seq, recorded_at_ms
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, coalesce(?23, {now}))

-- name: move_ready
-- True when the database has events, or a projection that saw some; and the last position that was drawn.
SELECT EXISTS (SELECT 1 FROM dg_event_log) OR EXISTS (SELECT 1 FROM dg_scope WHERE cursor > 0),
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'dg_event_log'), 0)

-- name: move_taken
SELECT log_seq FROM dg_event_log WHERE log_seq = ?1

-- name: events_of_tenant
-- By the index of the tenant's positions: a tenant's page costs what it holds, however many other tenants write between.
FROM dg_event_log INDEXED BY dg_event_log_position
WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3

-- name: page
-- The events in order, as a projection reads them. A payload of more than ?5 bytes is not loaded; its size (octet_length does not load it)
-- says why. The comment in it gives way to the columns of metadata.rs, if a projection reads them.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id,
       CASE WHEN octet_length(payload) <= ?5 THEN payload END, payload_hash, octet_length(payload) /* metadata */
{events_of_tenant}
ORDER BY log_seq
LIMIT ?4

-- name: heads
-- A trace's latest event at or below a position: one step in the index of the trace.
SELECT trace_id, trace_seq
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2 AND log_seq <= ?3
ORDER BY log_seq DESC
LIMIT 1

-- name: history
-- A trace's events at or below a position, in order; the caller keeps the types that it wants.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash /* metadata */
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2 AND log_seq <= ?3
ORDER BY log_seq

-- name: event_columns
log_seq, strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at_ms / 1000.0, 'unixepoch'), event_id, trace_id, trace_seq, event_type,
occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id,
causation_event_id, schema_version, tags

-- name: chosen
-- The condition of a choice among the events that an index finds. The types are a JSON list.
(?4 IS NULL OR event_type IN (SELECT value FROM json_each(?4))) AND (?5 IS NULL OR actor_type = ?5) AND (?6 IS NULL OR actor_id = ?6)

-- name: events
-- Full events in order. A large payload is not loaded; see `page`.
SELECT {event_columns}, CASE WHEN octet_length(payload) <= ?8 THEN payload END, payload_hash, octet_length(payload)
{events_of_tenant} AND {chosen}
ORDER BY log_seq
LIMIT ?7

-- name: trace_events
-- Full events of one trace, in order. The text is compared as well: the hash only finds it. A large payload is not loaded; see `page`.
SELECT {event_columns}, CASE WHEN octet_length(payload) <= ?8 THEN payload END, payload_hash, octet_length(payload)
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?9 AND trace_id = ?10 AND log_seq > ?2 AND log_seq <= ?3 AND {chosen}
ORDER BY log_seq
LIMIT ?7

-- name: position_of
SELECT log_seq FROM dg_event_log WHERE tenant_id = ?1 AND event_key = ?2 AND event_id = ?3

-- name: nth_position
-- A count along the index of the tenant's positions, without the events.
SELECT log_seq
{events_of_tenant}
ORDER BY log_seq
LIMIT 1 OFFSET ?4

-- name: nth_position_of_trace
-- A count along the index of traces. By the hash alone: it bounds the work, and decides nothing.
SELECT log_seq
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2 AND log_seq > ?3 AND log_seq <= ?4
ORDER BY log_seq
LIMIT 1 OFFSET ?5

-- name: starts
-- Backwards through the index of starts.
SELECT log_seq, trace_id
FROM dg_event_log INDEXED BY dg_event_log_start
WHERE tenant_id = ?1 AND log_seq < ?2 AND trace_seq = 0
ORDER BY log_seq DESC
LIMIT ?3

-- name: trace_ends
-- A trace's event 0, and its latest at or below a position. The types are a JSON list.
SELECT s.trace_id, s.log_seq, s.occurred_at, s.actor_type, s.actor_id, s.tags, e.log_seq, e.trace_seq, e.event_type, e.occurred_at
FROM dg_event_log AS s INDEXED BY dg_event_log_trace_seq
JOIN dg_event_log AS e ON e.log_seq = (SELECT max(l.log_seq) FROM dg_event_log AS l INDEXED BY dg_event_log_trace
                                       WHERE l.tenant_id = ?1 AND l.trace_key = ?2 AND l.log_seq <= ?4)
WHERE s.tenant_id = ?1 AND s.trace_key = ?2 AND s.trace_seq = 0 AND s.trace_id = ?3
  AND (?5 IS NULL OR EXISTS (SELECT 1 FROM dg_event_log AS l INDEXED BY dg_event_log_trace
                             WHERE l.tenant_id = ?1 AND l.trace_key = ?2 AND l.log_seq <= ?4
                               AND l.event_type IN (SELECT value FROM json_each(?5))))

-- name: last_log_seq
SELECT max(log_seq) FROM dg_event_log WHERE tenant_id = ?1 AND log_seq <= ?2

-- name: lags
-- Counted up to a bound: the cost has a bound too. The age is that of the oldest event that is not applied.
SELECT (SELECT count(*) FROM (SELECT 1 {events_of_tenant} LIMIT ?4)),
       (SELECT max(0, {now} - recorded_at_ms) / 1000.0 {events_of_tenant} ORDER BY log_seq LIMIT 1)

-- name: count_events
-- Counted up to a bound; see `lags`.
SELECT count(*) FROM (SELECT 1 {events_of_tenant} LIMIT ?4)

-- name: all_tenants
-- By jumping from one tenant to the next in the index: costs a step per tenant, not a step per event.
WITH RECURSIVE tenant (tenant_id) AS (
    SELECT min(tenant_id) FROM dg_event_log
    UNION ALL
    SELECT (SELECT min(log.tenant_id) FROM dg_event_log AS log WHERE log.tenant_id > tenant.tenant_id)
    FROM tenant
    WHERE tenant.tenant_id IS NOT NULL
)

-- name: tenants
{all_tenants}
SELECT tenant_id FROM tenant WHERE tenant_id IS NOT NULL

-- name: strays
-- Every tenant with its first event; the caller keeps those that are none.
{all_tenants}
SELECT tenant_id, (SELECT min(log.log_seq) FROM dg_event_log AS log WHERE log.tenant_id = tenant.tenant_id)
FROM tenant WHERE tenant_id IS NOT NULL

-- name: last_log_seqs
{all_tenants}
SELECT tenant_id, (SELECT max(log.log_seq) FROM dg_event_log AS log WHERE log.tenant_id = tenant.tenant_id)
FROM tenant WHERE tenant_id IS NOT NULL

-- name: tenant_heads
-- ?2 tenants behind ?1 that have events or scopes, by jumping from one to the next in both indexes. Without ORDER BY: the recursion gives
-- them in order and stops with the LIMIT. The seal is no projection. A row whose tenant no program could have written is left out.
WITH RECURSIVE tenant (tenant_id) AS (
    SELECT min(tenant_id) FROM (SELECT min(tenant_id) AS tenant_id FROM dg_event_log WHERE tenant_id > ?1
                                UNION ALL SELECT min(tenant_id) FROM dg_scope WHERE tenant_id > ?1)
    UNION ALL
    SELECT (SELECT min(tenant_id)
            FROM (SELECT (SELECT min(log.tenant_id) FROM dg_event_log AS log WHERE log.tenant_id > tenant.tenant_id) AS tenant_id
                  UNION ALL SELECT (SELECT min(scope.tenant_id) FROM dg_scope AS scope WHERE scope.tenant_id > tenant.tenant_id)))
    FROM tenant
    WHERE tenant.tenant_id IS NOT NULL
)
SELECT tenant_id,
       coalesce((SELECT max(log.log_seq) FROM dg_event_log AS log WHERE log.tenant_id = tenant.tenant_id), 0),
       (SELECT count(*) FROM dg_scope AS scope WHERE scope.tenant_id = tenant.tenant_id AND scope.projection <> 'seal'),
       (SELECT min(scope.cursor) FROM dg_scope AS scope WHERE scope.tenant_id = tenant.tenant_id AND scope.projection <> 'seal'),
       (SELECT count(scope.paused_at_ms) FROM dg_scope AS scope WHERE scope.tenant_id = tenant.tenant_id AND scope.projection <> 'seal')
FROM tenant
WHERE typeof(tenant_id) = 'text' AND length(CAST(tenant_id AS BLOB)) BETWEEN 1 AND 200 AND instr(tenant_id, char(0)) = 0
LIMIT ?2

-- name: tenants_with_events
-- Who has events in a stretch of the log, by its primary key (NOT INDEXED leaves that one): grouping along a tenant's index would read
-- everybody's history.
SELECT tenant_id, max(log_seq) AS last
FROM dg_event_log NOT INDEXED
WHERE log_seq > ?1 AND log_seq <= ?2
GROUP BY tenant_id
ORDER BY last

-- name: tenants_behind
-- The next tenant behind an id; its scopes are checked by `scopes_done`.
SELECT min(tenant_id) FROM dg_event_log WHERE tenant_id > ?1

-- name: scopes_done
-- The projections of a tenant that need no work up to a position.
SELECT projection FROM dg_scope WHERE tenant_id = ?1 AND (cursor >= ?2 OR paused_at_ms IS NOT NULL)

-- name: log_end
-- The last position that was ever drawn, and the history that it is of. One writer: nothing below it can still appear.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'dg_event_log'), 0),
       (SELECT lower(hex(identity)) FROM dg_history)
