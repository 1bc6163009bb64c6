-- One statement, so that a batch is stored whole or not at all without BEGIN and COMMIT. log_seq is drawn here, by the INSERT, after
-- the statement holds its lock on the log: the high-water mark rests on that order. ORDER BY gives the events of a batch their
-- positions in the order in which they were offered, and RETURNING answers in it.
INSERT INTO dg_event_log
       (tenant_id, trace_seq, schema_version, event_key, trace_key, idempotency_uid, event_id, trace_id, event_type, occurred_at,
        producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id, causation_event_id,
        tags, payload_hash, payload)
SELECT $1, e.trace_seq, e.schema_version, e.event_key, e.trace_key, e.idempotency_uid, e.event_id, e.trace_id, e.event_type,
       e.occurred_at, e.producer_id, e.source_system, e.source_subsystem, e.actor_type, e.actor_id, e.idempotency_key,
       e.correlation_id, e.causation_event_id, e.tags, e.payload_hash, e.payload
  FROM unnest($2::bigint[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[],
              $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],
              $20::text[], $21::text[])
       WITH ORDINALITY
       AS e (trace_seq, schema_version, event_key, trace_key, idempotency_uid, event_id, trace_id, event_type, occurred_at,
             producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id, causation_event_id,
             tags, payload_hash, payload, place)
 ORDER BY e.place
RETURNING log_seq
