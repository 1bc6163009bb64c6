-- Whether the scope is still where the batch was computed.
SELECT 1 FROM dg_scope
 WHERE tenant_id = $1 AND projection = $2 AND cursor_seq = $3 AND epoch = $4 AND epoch_token = $5 AND generation = $6
