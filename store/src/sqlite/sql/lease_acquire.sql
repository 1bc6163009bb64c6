-- A new owner and a new epoch in one statement: what the former owner prepared is fenced from here on.
UPDATE dg_scope
SET owner_node = ?3, owner_incarnation = ?4, epoch = epoch + 1, epoch_token = ?5
WHERE tenant_id = ?1 AND projection = ?2
RETURNING epoch, generation, cursor, digest, version
