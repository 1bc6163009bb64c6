-- Who has events in a stretch of the log, by the index on log_seq alone, which ORDER BY and OFFSET 0 hold the planner to: grouping
-- along the primary key would read everybody's history. What is no tenant (see TenantId) is left out before the page is counted.
SELECT tenant_id, max(log_seq) AS last
  FROM (SELECT tenant_id, log_seq FROM dg_event_log WHERE log_seq > $1 AND log_seq <= $2 ORDER BY log_seq OFFSET 0) AS stretch
 WHERE octet_length(tenant_id) BETWEEN 1 AND 200
 GROUP BY tenant_id
 ORDER BY last
 LIMIT $3
