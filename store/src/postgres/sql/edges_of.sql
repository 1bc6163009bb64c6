-- The edges of one node behind a position, by log_seq and edge_id. Each side reads its index from that log_seq on, sorts the few that
-- share one, and stops at the limit: a hub costs a page, not its degree. An edge from a node to itself is found on both sides: UNION counts it once.
-- An edge has beside a node the position since which there is that node, or 0 (see SCHEMA): both are asked for. (…_leaf stands for the generation's partition.)
WITH s (since) AS (SELECT 0::bigint
                   UNION ALL
                   SELECT n.log_seq FROM dg_cg_nodes_leaf n
                    WHERE n.tenant_id = $1 AND n.generation = $2 AND n.row_key = $10 AND n.node_id = $4)
SELECT edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at
  FROM (SELECT o.edge_id, o.edge_type, o.from_node_id, o.to_node_id, o.trace_id, o.log_seq, o.created_at
          FROM s
         CROSS JOIN LATERAL (SELECT * FROM dg_cg_edges_leaf x
                              WHERE $5 AND x.tenant_id = $1 AND x.generation = $2 AND x.from_node_id_since = s.since AND x.from_node_id_key = $3
                                AND x.from_node_id = $4 AND x.log_seq >= $7 AND (x.log_seq, x.edge_id) > ($7, $8::text)
                              ORDER BY x.log_seq, x.edge_id LIMIT $9) AS o
        UNION
        SELECT i.edge_id, i.edge_type, i.from_node_id, i.to_node_id, i.trace_id, i.log_seq, i.created_at
          FROM s
         CROSS JOIN LATERAL (SELECT * FROM dg_cg_edges_leaf x
                              WHERE $6 AND x.tenant_id = $1 AND x.generation = $2 AND x.to_node_id_since = s.since AND x.to_node_id_key = $3
                                AND x.to_node_id = $4 AND x.log_seq >= $7 AND (x.log_seq, x.edge_id) > ($7, $8::text)
                              ORDER BY x.log_seq, x.edge_id LIMIT $9) AS i) AS e
 ORDER BY log_seq, edge_id
 LIMIT $9
