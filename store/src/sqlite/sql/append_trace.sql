-- A trace's latest event: what comes next, and whether the trace is finished.
SELECT trace_id, trace_seq, event_type
FROM dg_event_log INDEXED BY dg_event_log_trace
WHERE tenant_id = ?1 AND trace_key = ?2
ORDER BY log_seq DESC
LIMIT 1
