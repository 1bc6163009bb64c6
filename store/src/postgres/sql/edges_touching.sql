-- The edges that touch any of these nodes, by the bytes of edge_id. An edge between two of them, or from a node to itself, is found
-- twice: UNION counts it once. An edge has beside a node the position since which there is that node, or 0 (see SCHEMA): both are asked
-- for. (…_leaf stands for the generation's partition.)
WITH k (key, node_id, since) AS (SELECT u.key, u.node_id, s.since
                                   FROM unnest($3::uuid[], $4::text[], $8::bytea[]) AS u (key, node_id, row_key)
                                  CROSS JOIN LATERAL (SELECT 0::bigint AS since
                                                      UNION ALL
                                                      SELECT * FROM (SELECT n.log_seq FROM dg_cg_nodes_leaf n
                                                                      WHERE n.tenant_id = $1 AND n.generation = $2
                                                                        AND n.row_key BETWEEN u.row_key AND u.row_key AND n.node_id = u.node_id
                                                                      ORDER BY n.row_key LIMIT 1) AS n) AS s)
SELECT edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at
  FROM (SELECT o.edge_id, o.edge_type, o.from_node_id, o.to_node_id, o.trace_id, o.log_seq, o.created_at
          FROM k
         CROSS JOIN LATERAL (SELECT * FROM dg_cg_edges_leaf x
                              WHERE x.tenant_id = $1 AND x.generation = $2 AND x.from_node_id_since = k.since
                                AND x.from_node_id_key BETWEEN k.key AND k.key AND x.from_node_id = k.node_id
                              ORDER BY x.from_node_id_key, x.log_seq OFFSET 0) AS o
        UNION
        SELECT i.edge_id, i.edge_type, i.from_node_id, i.to_node_id, i.trace_id, i.log_seq, i.created_at
          FROM k
         CROSS JOIN LATERAL (SELECT * FROM dg_cg_edges_leaf x
                              WHERE x.tenant_id = $1 AND x.generation = $2 AND x.to_node_id_since = k.since
                                AND x.to_node_id_key BETWEEN k.key AND k.key AND x.to_node_id = k.node_id
                              ORDER BY x.to_node_id_key, x.log_seq OFFSET 0) AS i) AS e
 WHERE ($5::text[] IS NULL OR edge_type = ANY ($5::text[]))
   AND ($6::text IS NULL OR edge_id > $6)
 ORDER BY edge_id
 LIMIT $7
