-- What is stored under these idempotency keys, with the fields that a legal repeat must equal. LATERAL with LIMIT: one index
-- look-up a key, whatever the planner believes of the log's size.
-- The key is asked for as a range of one, and in its order: with plain equality every index that begins with the tenant looks alike to a
-- planner that has seen the table empty, and its plan is kept.
-- Columns by name: a role that only appends may not read payloads.
SELECT e.log_seq, e.event_id, e.trace_id, e.event_type, e.producer_id, e.source_system, e.source_subsystem, e.actor_type, e.actor_id,
       e.idempotency_key, e.correlation_id, e.causation_event_id, e.schema_version, e.tags, e.payload_hash
  FROM unnest($2::uuid[], $3::text[], $4::text[]) AS k (uid, producer_id, idempotency_key)
 CROSS JOIN LATERAL (
       SELECT l.log_seq, l.event_id, l.trace_id, l.event_type, l.producer_id, l.source_system, l.source_subsystem, l.actor_type, l.actor_id,
              l.idempotency_key, l.correlation_id, l.causation_event_id, l.schema_version, l.tags, l.payload_hash
         FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.idempotency_uid BETWEEN k.uid AND k.uid
          AND l.producer_id = k.producer_id AND l.idempotency_key = k.idempotency_key
        ORDER BY l.idempotency_uid LIMIT 1) AS e
