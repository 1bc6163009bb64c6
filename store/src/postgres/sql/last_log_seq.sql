-- One backward step in the primary key.
SELECT log_seq FROM dg_event_log WHERE tenant_id = $1 AND log_seq <= $2 ORDER BY log_seq DESC LIMIT 1
