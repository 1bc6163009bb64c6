-- Waits for commits that are under way. A new token voids the leases that are still about.
UPDATE dg_scope
   SET owner_node = NULL, owner_incarnation = NULL, writer_pid = NULL, writer_started = NULL, epoch_token = gen_random_uuid()
 WHERE tenant_id = ANY($3) AND owner_node = $1 AND owner_incarnation = $2
