-- How many events, counted up to a bound: the cost has a bound too.
SELECT count(*) FROM (
    SELECT 1 FROM dg_event_log INDEXED BY dg_event_log_position
    WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3
    LIMIT ?4
)
