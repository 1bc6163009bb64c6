INSERT INTO dg_skip (tenant_id, projection, log_seq, failure_id, event_id, trace_id, reason, skipped_by)
SELECT tenant_id, projection, log_seq, failure_id, event_id, trace_id, $2, $3 FROM dg_failure WHERE failure_id = $1
RETURNING tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
          to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), failure_id,
          to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), skip_id
