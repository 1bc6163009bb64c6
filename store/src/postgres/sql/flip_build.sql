SELECT cursor_seq, digest, version, ready, deviating FROM dg_generation
 WHERE tenant_id = $1 AND generation = $2 AND state = 'building' AND epoch = $3 AND epoch_token = $4
   FOR UPDATE
