-- Under the same epoch as the fence that follows: a stale writer marks nothing.
UPDATE dg_scope SET deviating = true
 WHERE tenant_id = $1 AND projection = $2 AND epoch = $3 AND epoch_token = $4 AND NOT deviating
