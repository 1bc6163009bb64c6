-- Counted up to a bound; see lag.sql.
SELECT count(*) FROM (SELECT FROM dg_event_log WHERE tenant_id = $1 AND log_seq > $2 AND log_seq <= $3 LIMIT $4) AS c
