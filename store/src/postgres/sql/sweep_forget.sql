DELETE FROM dg_generation WHERE tenant_id = $1 AND generation = $2 AND state = 'retired'
