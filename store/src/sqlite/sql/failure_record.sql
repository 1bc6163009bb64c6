-- One open row an event, by the partial unique index: seeing it again counts an attempt and keeps what is said of it now.
INSERT INTO dg_failure (
    tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to,
    digest_before, attempts, first_seen_at_ms, last_seen_at_ms
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1, ?12, ?12)
ON CONFLICT (tenant_id, projection, log_seq) WHERE resolved_at_ms IS NULL DO UPDATE SET
    attempts = attempts + 1,
    last_seen_at_ms = excluded.last_seen_at_ms,
    category = excluded.category,
    message = excluded.message,
    batch_from = excluded.batch_from,
    batch_to = excluded.batch_to,
    digest_before = excluded.digest_before
RETURNING failure_id
