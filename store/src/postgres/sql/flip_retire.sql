UPDATE dg_generation SET state = 'retired', retired_at = clock_timestamp() WHERE tenant_id = $1 AND generation = $2
