UPDATE dg_generation SET state = 'live', run_id = NULL WHERE tenant_id = $1 AND generation = $2
