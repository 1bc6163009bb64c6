-- Counted up to a bound; see lag.sql.
SELECT count(*) FROM (SELECT FROM dg_event_log
                       WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
                       ORDER BY tenant_id, log_seq LIMIT $4) AS c
