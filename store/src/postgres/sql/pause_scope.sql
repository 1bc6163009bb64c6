-- Waits for a commit that is under way. A pause that is there stays as it is, with its reason.
UPDATE dg_scope SET paused_at = clock_timestamp(), paused_reason = $3, paused_by = $4
 WHERE tenant_id = $1 AND projection = $2 AND paused_at IS NULL
