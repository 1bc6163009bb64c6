UPDATE dg_generation SET state = 'retired', retired_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2 AND run_id = $3 AND state = 'building'
