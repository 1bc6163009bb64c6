-- The latest finished traces that match: backwards through (tenant, generation, last_log_seq) of the finished ones.
SELECT trace_id, workflow, title, outcome, finished_at, last_log_seq, primary_entity_type, primary_entity_id,
       NULL::text, NULL::text, NULL::text
  FROM dg_trace_summary_leaf
 WHERE tenant_id = $1 AND generation = $2 AND finished_at IS NOT NULL AND outcome IS NOT NULL
   AND ($3::text IS NULL OR primary_entity_type = $3) AND ($4::text IS NULL OR primary_entity_id = $4)
   AND ($5::text IS NULL OR outcome = $5)
 ORDER BY last_log_seq DESC, trace_id
 LIMIT $6
