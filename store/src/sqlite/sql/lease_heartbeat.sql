-- First call and renewal alike. Another incarnation's row is taken only when its lease is over (also because it begins ahead of ?4, now: it
-- was given before the clock was set back); else no row is changed.
INSERT INTO dg_node (node, incarnation, expires_at_ms, not_before_ms, process) VALUES (?1, ?2, ?3, ?5, ?6)
ON CONFLICT (node) DO UPDATE
SET incarnation = excluded.incarnation, expires_at_ms = excluded.expires_at_ms, not_before_ms = excluded.not_before_ms,
    process = excluded.process
WHERE dg_node.incarnation = excluded.incarnation OR dg_node.expires_at_ms <= ?4 OR dg_node.not_before_ms > ?4
