-- Newest first.
SELECT tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
       to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), failure_id,
       to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), skip_id
  FROM dg_skip
 WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR projection = $2) AND (NOT $3 OR revoked_at IS NULL)
   AND ($5::bigint IS NULL OR skip_id < $5)
 ORDER BY skip_id DESC
 LIMIT $4
