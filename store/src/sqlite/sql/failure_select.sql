-- A failure as people see it; the condition is added behind.
SELECT failure_id, tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to,
       digest_before, attempts,
       strftime('%Y-%m-%dT%H:%M:%fZ', first_seen_at_ms / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', last_seen_at_ms / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', resolved_at_ms / 1000.0, 'unixepoch')
FROM dg_failure
