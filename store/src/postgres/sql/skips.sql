-- Those that hold, in the order of the log: their index is partial.
SELECT tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
       to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), failure_id,
       to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), skip_id
  FROM dg_skip
 WHERE tenant_id = $1 AND projection = $2 AND revoked_at IS NULL
 ORDER BY log_seq
