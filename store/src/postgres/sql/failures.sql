-- Newest first.
SELECT failure_id, tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to,
       digest_before, attempts,
       to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_failure
 WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR projection = $2) AND (NOT $3 OR resolved_at IS NULL)
   AND ($5::bigint IS NULL OR failure_id < $5)
 ORDER BY failure_id DESC
 LIMIT $4
