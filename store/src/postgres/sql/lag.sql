-- Counted up to a bound: the cost of asking must not grow with the lag. The age is that of the oldest event that is not applied. As pairs,
-- see page.sql.
SELECT (SELECT count(*) FROM (SELECT FROM dg_event_log
                               WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
                               ORDER BY tenant_id, log_seq LIMIT $4) AS c),
       (SELECT greatest(extract(epoch FROM clock_timestamp() - recorded_at), 0)::float8 FROM dg_event_log
         WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
         ORDER BY tenant_id, log_seq LIMIT 1)
