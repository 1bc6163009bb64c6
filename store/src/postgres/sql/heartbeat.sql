-- First call and renewal alike. No row comes of it when another incarnation lives under the same name. A lease that begins ahead of the
-- clock was given before the clock was set back, and is over.
INSERT INTO dg_node (node, incarnation, not_before, expires_at, process)
VALUES ($1, $2, clock_timestamp() - make_interval(secs => $3), clock_timestamp() + make_interval(secs => $3), $4)
ON CONFLICT (node) DO UPDATE
   SET incarnation = excluded.incarnation, not_before = excluded.not_before, expires_at = excluded.expires_at,
       process = excluded.process
 WHERE dg_node.incarnation = excluded.incarnation OR dg_node.expires_at <= clock_timestamp() OR dg_node.not_before > clock_timestamp()
