-- Which of these event ids are taken.
-- The key is asked for as a range of one, and in its order: with plain equality every index that begins with the tenant looks alike to a
-- planner that has seen the table empty, and its plan is kept.
SELECT k.event_id
  FROM unnest($2::uuid[], $3::text[]) AS k (event_key, event_id)
 CROSS JOIN LATERAL (
       SELECT 1 FROM dg_event_log l
        WHERE l.tenant_id = $1 AND l.event_key BETWEEN k.event_key AND k.event_key AND l.event_id = k.event_id
        ORDER BY l.event_key LIMIT 1) AS e
