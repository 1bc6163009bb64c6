-- The edges that touch any of these nodes, by the bytes of edge_id. An edge between two of them, or from a node to itself, is found
-- twice: UNION counts it once. (…_leaf stands for the generation's partition.)
SELECT edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at
  FROM (SELECT o.edge_id, o.edge_type, o.from_node_id, o.to_node_id, o.trace_id, o.log_seq, o.created_at
          FROM unnest($3::uuid[], $4::text[]) AS k (key, node_id)
         CROSS JOIN LATERAL (SELECT * FROM dg_cg_edges_leaf x
                              WHERE x.tenant_id = $1 AND x.generation = $2 AND x.from_node_id_key BETWEEN k.key AND k.key AND x.from_node_id = k.node_id
                              ORDER BY x.from_node_id_key, x.log_seq OFFSET 0) AS o
        UNION
        SELECT i.edge_id, i.edge_type, i.from_node_id, i.to_node_id, i.trace_id, i.log_seq, i.created_at
          FROM unnest($3::uuid[], $4::text[]) AS k (key, node_id)
         CROSS JOIN LATERAL (SELECT * FROM dg_cg_edges_leaf x
                              WHERE x.tenant_id = $1 AND x.generation = $2 AND x.to_node_id_key BETWEEN k.key AND k.key AND x.to_node_id = k.node_id
                              ORDER BY x.to_node_id_key, x.log_seq OFFSET 0) AS i) AS e
 WHERE ($5::text[] IS NULL OR edge_type = ANY ($5::text[]))
   AND ($6::text IS NULL OR edge_id > $6)
 ORDER BY edge_id
 LIMIT $7
