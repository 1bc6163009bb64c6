-- One open row a (scope, event); seeing it again counts an attempt.
INSERT INTO dg_failure
       (tenant_id, projection, log_seq, batch_from, batch_to, event_id, trace_id, event_type, category, message, digest_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (tenant_id, projection, log_seq) WHERE resolved_at IS NULL
DO UPDATE SET attempts = dg_failure.attempts + 1, last_seen_at = clock_timestamp(),
              batch_from = excluded.batch_from, batch_to = excluded.batch_to,
              category = excluded.category, message = excluded.message, digest_before = excluded.digest_before
RETURNING failure_id
