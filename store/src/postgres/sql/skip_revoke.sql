UPDATE dg_skip SET revoked_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2 AND log_seq = $3 AND revoked_at IS NULL
RETURNING tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
          to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), failure_id,
          to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), skip_id
