UPDATE dg_generation SET state = 'live' WHERE tenant_id = $1 AND generation = $2
