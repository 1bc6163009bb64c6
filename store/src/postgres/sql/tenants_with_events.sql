-- Who has events in a stretch of the log, by the index on log_seq alone, which ORDER BY and OFFSET 0 hold the planner to: grouping
-- along the primary key would read everybody's history.
SELECT tenant_id, max(log_seq) AS last
  FROM (SELECT tenant_id, log_seq FROM dg_event_log WHERE log_seq > $1 AND log_seq <= $2 ORDER BY log_seq OFFSET 0) AS stretch
 GROUP BY tenant_id
 ORDER BY last
 LIMIT $3
