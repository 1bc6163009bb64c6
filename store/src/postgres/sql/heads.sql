-- The latest event of each trace at or below a position: one backward step in (tenant, trace, log_seq) a trace. No aggregate over
-- history, no map of all traces. Equality on the trace, so that log_seq bounds the scan too: as a range of one, a look-up in the middle of
-- a long trace would walk back from its end. (V003__planner.sql sees to it that the trace's index is the one.)
SELECT k.trace_id, e.trace_seq
  FROM unnest($2::uuid[], $3::text[]) AS k (trace_key, trace_id)
 CROSS JOIN LATERAL (
       SELECT l.trace_seq FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key = k.trace_key AND l.trace_id = k.trace_id AND l.log_seq <= $4
        ORDER BY l.log_seq DESC
        LIMIT 1) AS e
