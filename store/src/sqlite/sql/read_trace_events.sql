-- Full events of one trace, in order. The text is compared as well: the hash only finds it. A large payload is not loaded; see
-- read_page.sql.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, producer_id, source_system, source_subsystem,
       actor_type, actor_id, idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload_hash,
       strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at_ms / 1000.0, 'unixepoch'), CASE WHEN octet_length(payload) <= ?6 THEN payload END,
       octet_length(payload)
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2 AND trace_id = ?3 AND log_seq > ?4
ORDER BY log_seq
LIMIT ?5
