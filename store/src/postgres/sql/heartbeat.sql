-- First call and renewal alike. No row comes of it when another incarnation lives under the same name.
INSERT INTO dg_node (node, incarnation, expires_at)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (node) DO UPDATE SET incarnation = excluded.incarnation, expires_at = excluded.expires_at
 WHERE dg_node.incarnation = excluded.incarnation OR dg_node.expires_at <= clock_timestamp()
