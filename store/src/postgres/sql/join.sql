-- A heartbeat that also says who beats. No row comes of it when another incarnation lives under the same name. Nodes that died a day
-- ago are forgotten: their scopes have no live owner with or without these rows.
WITH forgotten AS (
    DELETE FROM dg_node
     WHERE (expires_at < clock_timestamp() - interval '1 day' OR not_before > clock_timestamp() + interval '1 day') AND node <> $1
)
INSERT INTO dg_node (node, incarnation, not_before, expires_at, process, address, program, protocol)
VALUES ($1, $2, clock_timestamp() - make_interval(secs => $3), clock_timestamp() + make_interval(secs => $3), $7, $4, $5, $6)
ON CONFLICT (node) DO UPDATE
   SET incarnation = excluded.incarnation, not_before = excluded.not_before, expires_at = excluded.expires_at,
       process = excluded.process, address = excluded.address, program = excluded.program, protocol = excluded.protocol,
       joined_at = CASE WHEN dg_node.incarnation = excluded.incarnation THEN dg_node.joined_at ELSE excluded.joined_at END
 WHERE dg_node.incarnation = excluded.incarnation OR dg_node.expires_at <= clock_timestamp() OR dg_node.not_before > clock_timestamp()
-- Whether it is new: then the others are told.
RETURNING joined_at >= statement_timestamp()
