-- Every node that has said who it is and has not left, dead ones too, and what operators want of it (?1 is now).
SELECT n.node, n.incarnation, n.address, n.program, n.protocol, iif(n.not_before_ms > ?1, ?1, n.expires_at_ms),
       strftime('%Y-%m-%dT%H:%M:%fZ', n.joined_at_ms / 1000.0, 'unixepoch'), c.draining, c.reason, c.cordoned_by,
       strftime('%Y-%m-%dT%H:%M:%fZ', c.cordoned_at_ms / 1000.0, 'unixepoch')
FROM dg_node AS n
LEFT JOIN dg_cordon AS c ON c.node = n.node
WHERE n.protocol IS NOT NULL
ORDER BY n.node
