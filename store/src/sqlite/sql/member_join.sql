-- A heartbeat that also says who beats. Another incarnation's row is taken only when its lease is over; else no row is changed.
INSERT INTO dg_node (node, incarnation, expires_at_ms, not_before_ms, process, address, program, protocol, joined_at_ms)
VALUES (?1, ?2, ?3, ?8, ?9, ?5, ?6, ?7, ?4)
ON CONFLICT (node) DO UPDATE
SET incarnation = excluded.incarnation, expires_at_ms = excluded.expires_at_ms, not_before_ms = excluded.not_before_ms,
    process = excluded.process, address = excluded.address, program = excluded.program, protocol = excluded.protocol,
    joined_at_ms = CASE WHEN dg_node.incarnation = excluded.incarnation THEN dg_node.joined_at_ms ELSE excluded.joined_at_ms END
WHERE dg_node.incarnation = excluded.incarnation OR dg_node.expires_at_ms <= ?4 OR dg_node.not_before_ms > ?4
