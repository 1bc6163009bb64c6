-- What a projection reads, in order, by the index of the tenant's positions: a tenant's page costs what it holds, however
-- many other tenants write between. A payload of more than ?5 bytes is not loaded; its size (octet_length does not load it) says why.
-- The comment in it gives way to the columns of metadata.rs, if a projection reads them.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id,
       CASE WHEN octet_length(payload) <= ?5 THEN payload END, payload_hash, octet_length(payload) /* metadata */
FROM dg_event_log INDEXED BY dg_event_log_position
WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3
ORDER BY log_seq
LIMIT ?4
