-- Who owns a scope, and until when that process is alive (null: it has left, or restarted under its name; 0: its lease begins ahead of
-- ?3, now, so it was given before the clock was set back, and is over).
SELECT scope.owner_node, scope.owner_incarnation, iif(node.not_before_ms > ?3, 0, node.expires_at_ms)
FROM dg_scope AS scope
LEFT JOIN dg_node AS node ON node.node = scope.owner_node AND node.incarnation = scope.owner_incarnation
WHERE scope.tenant_id = ?1 AND scope.projection = ?2
