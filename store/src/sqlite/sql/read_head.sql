-- A trace's latest event at or below a position: one step in the index of the trace.
SELECT trace_id, trace_seq
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2 AND log_seq <= ?3
ORDER BY log_seq DESC
LIMIT 1
