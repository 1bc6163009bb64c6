-- One event. The position is drawn here, after every check: a refused event leaves no gap.
INSERT INTO dg_event_log (
    tenant_id, event_id, trace_id, trace_seq, event_type, occurred_at, producer_id, source_system, source_subsystem,
    actor_type, actor_id, idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload_hash,
    event_key, trace_key, idempotency_uid, recorded_at_ms, payload
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
