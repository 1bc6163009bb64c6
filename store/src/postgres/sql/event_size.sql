-- The next event of a tenant and the bytes of its texts: asked where a page came back without an event, which may have
-- been too large for it.
SELECT log_seq, octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
       + octet_length(occurred_at) + octet_length(producer_id) + octet_length(source_system)
       + coalesce(octet_length(source_subsystem), 0) + octet_length(actor_type) + octet_length(actor_id)
       + octet_length(idempotency_key) + coalesce(octet_length(correlation_id), 0)
       + coalesce(octet_length(causation_event_id), 0) + octet_length(tags) + octet_length(payload_hash)
  FROM dg_event_log
 WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
 ORDER BY tenant_id, log_seq
 LIMIT 1
