-- Counted up to a bound: the cost of asking must not grow with the lag. The age is that of the oldest event that is not applied. As pairs,
-- see page.sql.
SELECT (SELECT count(*) FROM (SELECT FROM dg_event_log l
                               WHERE (l.tenant_id, l.log_seq) > (s.tenant_id, s.cursor_seq) AND (l.tenant_id, l.log_seq) <= (s.tenant_id, $3)
                               ORDER BY l.tenant_id, l.log_seq LIMIT $4) AS c),
       (SELECT greatest(extract(epoch FROM clock_timestamp() - l.recorded_at), 0)::float8 FROM dg_event_log l
         WHERE (l.tenant_id, l.log_seq) > (s.tenant_id, s.cursor_seq) AND (l.tenant_id, l.log_seq) <= (s.tenant_id, $3)
         ORDER BY l.tenant_id, l.log_seq LIMIT 1)
  FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS s (tenant_id, cursor_seq, place)
 ORDER BY s.place
