-- Whether the generation under construction is still where the batch was computed.
SELECT 1 FROM dg_generation
 WHERE tenant_id = $1 AND generation = $2 AND state = 'building' AND epoch = $3 AND epoch_token = $4 AND cursor_seq = $5
