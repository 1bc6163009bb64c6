-- Waits for a commit that is under way. A pause that is there stays as it is, with its reason. A new epoch, without changing the owner:
-- whoever works on the scope is fenced at its next commit, reads the scope again and sees the pause.
UPDATE dg_scope
   SET paused_at = clock_timestamp(), paused_reason = $3, paused_by = $4, epoch = epoch + 1, epoch_token = $5
 WHERE tenant_id = $1 AND projection = $2 AND paused_at IS NULL
