UPDATE dg_generation SET deviating = true
 WHERE tenant_id = $1 AND generation = $2 AND epoch = $3 AND epoch_token = $4 AND NOT deviating
