-- First call and renewal alike. Another incarnation's row is taken only when its lease is over; else no row is changed.
INSERT INTO dg_node (node, incarnation, expires_at_ms) VALUES (?1, ?2, ?3)
ON CONFLICT (node) DO UPDATE SET incarnation = excluded.incarnation, expires_at_ms = excluded.expires_at_ms
WHERE dg_node.incarnation = excluded.incarnation OR dg_node.expires_at_ms <= ?4
