-- One backward step in the primary key. As pairs, see page.sql; positions begin at 1.
SELECT log_seq FROM dg_event_log
 WHERE (tenant_id, log_seq) > ($1, 0) AND (tenant_id, log_seq) <= ($1, $2)
 ORDER BY tenant_id DESC, log_seq DESC
 LIMIT 1
