-- ?3 tenants behind ?2 with all their scopes, without the digests (?1 is now).
SELECT scope.tenant_id, scope.projection, scope.owner_node, coalesce(node.expires_at_ms > ?1 AND node.not_before_ms <= ?1, 0), scope.epoch, scope.cursor,
       scope.paused_at_ms IS NOT NULL
FROM dg_scope AS scope
LEFT JOIN dg_node AS node ON node.node = scope.owner_node AND node.incarnation = scope.owner_incarnation
WHERE scope.tenant_id IN (SELECT DISTINCT tenant_id FROM dg_scope WHERE tenant_id > ?2 ORDER BY tenant_id LIMIT ?3)
ORDER BY scope.tenant_id, scope.projection
