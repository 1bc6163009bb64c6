-- The edges of one node behind a position, by log_seq and edge_id. Each side reads its index from that log_seq on, sorts the few that
-- share one, and stops at the limit: a hub costs a page, not its degree. An edge from a node to itself is found on both sides: UNION counts it once.
SELECT edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at
  FROM ((SELECT edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at FROM dg_cg_edges_leaf
          WHERE $5 AND tenant_id = $1 AND generation = $2 AND from_node_id_key = $3 AND from_node_id = $4
            AND log_seq >= $7 AND (log_seq, edge_id) > ($7, $8::text)
          ORDER BY log_seq, edge_id LIMIT $9)
        UNION
        (SELECT edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at FROM dg_cg_edges_leaf
          WHERE $6 AND tenant_id = $1 AND generation = $2 AND to_node_id_key = $3 AND to_node_id = $4
            AND log_seq >= $7 AND (log_seq, edge_id) > ($7, $8::text)
          ORDER BY log_seq, edge_id LIMIT $9)) AS e
 ORDER BY log_seq, edge_id
 LIMIT $9
