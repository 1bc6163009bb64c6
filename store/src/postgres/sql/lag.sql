-- Counted up to a bound: the cost of asking must not grow with the lag. The age is that of the oldest event that is not applied.
SELECT (SELECT count(*) FROM (SELECT FROM dg_event_log
                               WHERE tenant_id = $1 AND log_seq > $2 AND log_seq <= $3 LIMIT $4) AS c),
       (SELECT greatest(extract(epoch FROM clock_timestamp() - recorded_at), 0)::float8 FROM dg_event_log
         WHERE tenant_id = $1 AND log_seq > $2 AND log_seq <= $3 ORDER BY log_seq LIMIT 1)
