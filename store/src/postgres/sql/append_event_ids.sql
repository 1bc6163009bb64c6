-- Which of these event ids are taken.
SELECT k.event_id
  FROM unnest($2::uuid[], $3::text[]) AS k (event_key, event_id)
 CROSS JOIN LATERAL (
       SELECT 1 FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.event_key = k.event_key AND l.event_id = k.event_id
        LIMIT 1) AS e
