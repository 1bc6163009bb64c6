-- Who has events in a stretch of the log, by its primary key (NOT INDEXED leaves that one): grouping along a tenant's index would read
-- everybody's history.
SELECT tenant_id, max(log_seq) AS last
FROM dg_event_log NOT INDEXED
WHERE log_seq > ?1 AND log_seq <= ?2
GROUP BY tenant_id
ORDER BY last
