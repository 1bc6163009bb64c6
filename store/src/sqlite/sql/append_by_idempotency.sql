-- What is stored under an idempotency key, with all that a legal repeat must equal. The hash finds it, the caller
-- compares the text.
SELECT log_seq, event_id, trace_id, event_type, producer_id, source_system, source_subsystem, actor_type, actor_id,
       idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload_hash
FROM dg_event_log
WHERE tenant_id = ?1 AND idempotency_uid = ?2
