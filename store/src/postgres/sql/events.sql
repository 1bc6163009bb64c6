-- Events with all that is stored of them. Keyset paging on the primary key; as pairs, see page.sql.
SELECT log_seq, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), event_id, trace_id, trace_seq, event_type,
       occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id,
       causation_event_id, schema_version, tags, payload, payload_hash
  FROM dg_event_log
 WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
 ORDER BY tenant_id, log_seq
 LIMIT $4
