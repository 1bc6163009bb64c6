-- The next event of a trace and the bytes of its texts; see event_size.sql.
SELECT log_seq, octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
       + octet_length(occurred_at) + octet_length(producer_id) + octet_length(source_system)
       + coalesce(octet_length(source_subsystem), 0) + octet_length(actor_type) + octet_length(actor_id)
       + octet_length(idempotency_key) + coalesce(octet_length(correlation_id), 0)
       + coalesce(octet_length(causation_event_id), 0) + octet_length(tags) + octet_length(payload_hash)
  FROM dg_event_log
 WHERE tenant_id = $1 AND trace_key = $2 AND trace_id = $3 AND log_seq > $4
 ORDER BY log_seq
 LIMIT 1
