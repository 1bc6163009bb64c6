-- Scopes as people see them (?1 is now), with whether the owner's process still lives; the condition is added behind.
SELECT scope.tenant_id, scope.projection, scope.owner_node, coalesce(node.expires_at_ms > ?1 AND node.not_before_ms <= ?1, 0), scope.epoch,
       scope.epoch_token, scope.generation, scope.cursor, scope.digest, scope.version,
       strftime('%Y-%m-%dT%H:%M:%fZ', scope.updated_at_ms / 1000.0, 'unixepoch'),
       max(0, ?1 - scope.updated_at_ms) / 1000.0,
       strftime('%Y-%m-%dT%H:%M:%fZ', scope.paused_at_ms / 1000.0, 'unixepoch'), scope.paused_reason, scope.paused_by,
       scope.deviating,
       CASE WHEN scope.drift_generation = scope.generation
            THEN strftime('%Y-%m-%dT%H:%M:%fZ', scope.drift_found_at_ms / 1000.0, 'unixepoch') END, scope.drift_run
FROM dg_scope AS scope
LEFT JOIN dg_node AS node ON node.node = scope.owner_node AND node.incarnation = scope.owner_incarnation
