UPDATE dg_scope SET paused_at = NULL, paused_reason = NULL, paused_by = NULL
 WHERE tenant_id = $1 AND projection = $2 AND paused_at IS NOT NULL
