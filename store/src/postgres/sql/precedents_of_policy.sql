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
