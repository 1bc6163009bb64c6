UPDATE dg_failure SET resolved_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2 AND resolved_at IS NULL AND log_seq <= $3
