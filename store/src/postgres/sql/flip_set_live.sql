-- A new epoch without a new owner: a batch that the live worker prepared for the old generation is fenced.
UPDATE dg_scope
   SET generation = $3, cursor_seq = $4, digest = $5, version = $6, epoch = epoch + 1, epoch_token = $7, updated_at = clock_timestamp(),
       deviating = $8
 WHERE tenant_id = $1 AND projection = $2
