-- Waits for a commit that is under way. A new token voids the lease.
UPDATE dg_scope
   SET owner_node = NULL, owner_incarnation = NULL, writer_pid = NULL, writer_started = NULL, epoch_token = gen_random_uuid()
 WHERE tenant_id = $1 AND projection = $2 AND epoch = $3 AND epoch_token = $4
