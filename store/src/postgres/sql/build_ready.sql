UPDATE dg_generation SET ready = true
 WHERE tenant_id = $1 AND generation = $2 AND state = 'building' AND epoch = $3 AND epoch_token = $4
