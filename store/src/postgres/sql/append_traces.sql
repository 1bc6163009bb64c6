-- The greatest trace_seq of each trace, and whether that event finished it. By (tenant, trace, trace_seq), the index that a
-- wrong guess would collide with.
SELECT k.trace_id, e.trace_seq, e.event_type = 'TraceFinished'
  FROM unnest($2::uuid[], $3::text[]) AS k (trace_key, trace_id)
 CROSS JOIN LATERAL (
       SELECT l.trace_seq, l.event_type FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key BETWEEN k.trace_key AND k.trace_key AND l.trace_id = k.trace_id
        ORDER BY l.trace_key DESC, l.trace_seq DESC
        LIMIT 1) AS e
