-- Queries over the read models.

-- name: node_begun
SELECT log_seq FROM dg_cg_nodes WHERE tenant_id = ?1 AND generation = ?2 AND row_key = ?3 AND node_id = ?4

-- name: log_end
-- The log of rows that a verify compares is elsewhere, but their cursor is here.
SELECT max(ifnull((SELECT max(log_seq) FROM dg_event_log), 0),
           ifnull((SELECT max(cursor) FROM dg_scope WHERE tenant_id = ?1), 0))

-- name: finishes
-- Backwards through the partial index of the finished traces.
SELECT last_log_seq, trace_id
FROM dg_trace_summary INDEXED BY dg_trace_summary_finished
WHERE tenant_id = ?1 AND generation = ?2 AND finished_at IS NOT NULL AND last_log_seq < ?3
ORDER BY last_log_seq DESC
LIMIT ?4

-- name: precedents_any
-- Finished traces, newest first, out of the summaries alone. The partial index gives the order, so that a small limit reads
-- few rows; only ties on a position need sorting.
SELECT trace_id, workflow, title, outcome, finished_at, last_log_seq, primary_entity_type, primary_entity_id,
       NULL, NULL, NULL
FROM dg_trace_summary
WHERE tenant_id = ?1 AND generation = ?2 AND finished_at IS NOT NULL
  AND (?3 IS NULL OR primary_entity_type = ?3)
  AND (?4 IS NULL OR primary_entity_id = ?4)
  AND (?5 IS NULL OR outcome = ?5)
ORDER BY last_log_seq DESC, trace_id
LIMIT ?6

-- name: precedents_of_policy
-- Finished traces that met a policy: of each trace's index rows the best one (exceptions before policies, then the latest,
-- then the smallest event id), then newest first. The policy's index finds the rows, the summary's key its trace.
WITH matching AS (
    SELECT trace_id, trace_id_key, policy_id, policy_version, exception_id,
           row_number() OVER (
               PARTITION BY trace_id
               ORDER BY exception_id IS NULL, log_seq DESC, source_event_id
           ) AS place
    FROM dg_precedent_index INDEXED BY dg_precedent_index_policy
    WHERE tenant_id = ?1 AND generation = ?7 AND policy_id_key = ?8 AND policy_id = ?9
      AND (?10 IS NULL OR policy_version = ?10)
)
SELECT summary.trace_id, summary.workflow, summary.title, summary.outcome, summary.finished_at, summary.last_log_seq,
       summary.primary_entity_type, summary.primary_entity_id,
       matching.policy_id, matching.policy_version, matching.exception_id
FROM matching
JOIN dg_trace_summary AS summary
  ON summary.tenant_id = ?1 AND summary.generation = ?2 AND summary.row_key = matching.trace_id_key
WHERE matching.place = 1
  AND summary.finished_at IS NOT NULL
  AND (?3 IS NULL OR summary.primary_entity_type = ?3)
  AND (?4 IS NULL OR summary.primary_entity_id = ?4)
  AND (?5 IS NULL OR summary.outcome = ?5)
ORDER BY summary.last_log_seq DESC, summary.trace_id
LIMIT ?6
