-- A commit that passes the event resolves the failure in its own transaction: one of the two waits for the other.
SELECT tenant_id, projection, log_seq, resolved_at IS NULL FROM dg_failure WHERE failure_id = $1 FOR UPDATE
