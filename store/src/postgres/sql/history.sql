-- The events of some types of some traces. OFFSET 0 keeps the look-up a trace at a time. Equality on the trace, so that log_seq bounds the
-- scan too; see heads.sql.
SELECT e.log_seq, e.event_id, e.trace_id, e.trace_seq, e.event_type, e.occurred_at, e.actor_type, e.actor_id, e.payload, e.payload_hash /* metadata */
  FROM unnest($2::uuid[], $3::text[]) AS k (trace_key, trace_id)
 CROSS JOIN LATERAL (
       SELECT * FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.trace_key = k.trace_key AND l.trace_id = k.trace_id AND l.log_seq <= $4
          AND l.event_type = ANY ($5::text[])
        OFFSET 0) AS e
 ORDER BY e.log_seq
