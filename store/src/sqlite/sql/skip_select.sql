-- A skip as people see it; the condition is added behind.
SELECT tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
       strftime('%Y-%m-%dT%H:%M:%fZ', skipped_at_ms / 1000.0, 'unixepoch'), failure_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', revoked_at_ms / 1000.0, 'unixepoch'), skip_id
FROM dg_skip
