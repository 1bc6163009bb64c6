-- Out of the failure that it answers.
INSERT INTO dg_skip (tenant_id, projection, log_seq, failure_id, event_id, trace_id, reason, skipped_by, skipped_at_ms)
SELECT tenant_id, projection, log_seq, failure_id, event_id, trace_id, ?2, ?3, ?4 FROM dg_failure WHERE failure_id = ?1
