-- The fence, and the last statement of a batch: the cursor moves only if nobody took the scope, flipped its generation or
-- moved its cursor since the batch was computed. No row: everything before it in this transaction is rolled back.
UPDATE dg_scope
SET cursor = ?7, digest = ?8, version = ?9, updated_at_ms = ?10, deviating = deviating OR ?11
WHERE tenant_id = ?1 AND projection = ?2 AND cursor = ?3 AND epoch = ?4 AND epoch_token = ?5 AND generation = ?6
