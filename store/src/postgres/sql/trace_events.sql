-- The events of one trace. By (tenant, trace, log_seq), bounded by their bytes; see events.sql.
SELECT log_seq, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), event_id, trace_id, trace_seq, event_type,
       occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id,
       causation_event_id, schema_version, tags, payload, payload_hash, found
  FROM (SELECT p.*, count(*) OVER () AS found, sum(p.size) OVER (ORDER BY p.log_seq ROWS UNBOUNDED PRECEDING) - p.size AS before
          FROM (SELECT *, octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
                       + octet_length(occurred_at) + octet_length(producer_id) + octet_length(source_system)
                       + coalesce(octet_length(source_subsystem), 0) + octet_length(actor_type) + octet_length(actor_id)
                       + octet_length(idempotency_key) + coalesce(octet_length(correlation_id), 0)
                       + coalesce(octet_length(causation_event_id), 0) + octet_length(tags) + octet_length(payload_hash) AS size
                  FROM dg_event_log
                 WHERE tenant_id = $1 AND trace_key = $2 AND trace_id = $3 AND log_seq > $4
                 ORDER BY log_seq
                 LIMIT $5) AS p) AS q
 WHERE (before = 0 OR before + size <= $6::bigint) AND size <= $7
 ORDER BY log_seq
