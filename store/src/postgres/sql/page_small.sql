-- The next events of a tenant, where so many of them fit into a page if each payload has at most $5 bytes. A larger one comes without its
-- payload, and the page ends before it. For pages without one, which are nearly all, this costs less than the running sum of page.sql; the
-- rest is as there.
SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id,
       CASE WHEN octet_length(payload) <= $5 THEN payload END, payload_hash
  FROM dg_event_log
 WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
 ORDER BY tenant_id, log_seq
 LIMIT $4
