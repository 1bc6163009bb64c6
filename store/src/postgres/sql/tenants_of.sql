SELECT DISTINCT tenant_id FROM dg_scope WHERE owner_node = $1 AND owner_incarnation = $2
