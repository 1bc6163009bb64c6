-- A trace's events at or below a position, in order; the caller keeps the types that it wants.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash /* metadata */
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2 AND log_seq <= ?3
ORDER BY log_seq
