-- What a projection reads, in order, by the index of the tenant's positions: a tenant's page costs what it holds, however
-- many other tenants write between.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash
FROM dg_event_log INDEXED BY dg_event_log_position
WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3
ORDER BY log_seq
LIMIT ?4
