-- Queries over the read models.

-- name: edges_of
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

-- name: edges_touching
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

-- name: finishes
-- Backwards through (tenant, generation, last_log_seq) of the finished traces.
SELECT last_log_seq, trace_id
  FROM dg_trace_summary_leaf
 WHERE tenant_id = $1 AND generation = $2 AND finished_at IS NOT NULL AND last_log_seq < $3
 ORDER BY last_log_seq DESC
 LIMIT $4

-- name: precedents_any
-- The latest finished traces that match: backwards through (tenant, generation, last_log_seq) of the finished ones.
SELECT trace_id, workflow, title, outcome, finished_at, last_log_seq, primary_entity_type, primary_entity_id,
       NULL::text, NULL::text, NULL::text
  FROM dg_trace_summary_leaf
 WHERE tenant_id = $1 AND generation = $2 AND finished_at IS NOT NULL AND outcome IS NOT NULL
   AND ($3::text IS NULL OR primary_entity_type = $3) AND ($4::text IS NULL OR primary_entity_id = $4)
   AND ($5::text IS NULL OR outcome = $5)
 ORDER BY last_log_seq DESC, trace_id
 LIMIT $6

-- name: precedents_of_policy
-- Finished traces in which a policy was evaluated or an exception to it asked for. Of a trace's rows the best one counts: exceptions
-- before evaluations, then the later, then by id. The trace's summary is found by the same hash.
SELECT s.trace_id, s.workflow, s.title, s.outcome, s.finished_at, s.last_log_seq, s.primary_entity_type, s.primary_entity_id,
       p.policy_id, p.policy_version, p.exception_id
  FROM (SELECT DISTINCT ON (trace_id_key, trace_id) trace_id_key, trace_id, policy_id, policy_version, exception_id
          FROM dg_precedent_index_leaf
         WHERE tenant_id = $1 AND generation = $7 AND policy_id_key = $8 AND policy_id = $9
           AND ($10::text IS NULL OR policy_version = $10)
         ORDER BY trace_id_key, trace_id, exception_id IS NULL, log_seq DESC, source_event_id) AS p
 CROSS JOIN LATERAL (
       SELECT * FROM dg_trace_summary_leaf x
        WHERE x.tenant_id = $1 AND x.generation = $2 AND x.row_key = p.trace_id_key AND x.trace_id = p.trace_id
        LIMIT 1) AS s
 WHERE s.finished_at IS NOT NULL AND s.outcome IS NOT NULL
   AND ($3::text IS NULL OR s.primary_entity_type = $3) AND ($4::text IS NULL OR s.primary_entity_id = $4)
   AND ($5::text IS NULL OR s.outcome = $5)
 ORDER BY s.last_log_seq DESC, s.trace_id
 LIMIT $6
