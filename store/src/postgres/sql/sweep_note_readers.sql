UPDATE dg_generation SET readers = $3 WHERE tenant_id = $1 AND generation = $2 AND readers IS NULL
