-- The events of one trace. By (tenant, trace, log_seq).
SELECT log_seq, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), event_id, trace_id, trace_seq, event_type,
       occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id,
       causation_event_id, schema_version, tags, payload, payload_hash
  FROM dg_event_log
 WHERE tenant_id = $1 AND trace_key = $2 AND trace_id = $3 AND log_seq > $4
 ORDER BY log_seq
 LIMIT $5
