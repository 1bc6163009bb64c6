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
