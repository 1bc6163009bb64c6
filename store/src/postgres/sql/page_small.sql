-- The next events of a tenant, where so many of them fit into a page if each has at most $5 bytes of text. A larger one comes without its
-- texts, and the page ends before it. For pages without one, which are nearly all, this costs less than the running sum of page.sql; the
-- rest is as there. (The inner LIMIT keeps the size from being computed for each column again.)
SELECT log_seq, CASE WHEN small THEN event_id END, CASE WHEN small THEN trace_id END, trace_seq, CASE WHEN small THEN event_type END,
       CASE WHEN small THEN occurred_at END, CASE WHEN small THEN actor_type END, CASE WHEN small THEN actor_id END,
       CASE WHEN small THEN payload END, CASE WHEN small THEN payload_hash END /* small metadata */
  FROM (SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at, actor_type, actor_id, payload, payload_hash /* metadata */,
               octet_length(payload)::bigint + octet_length(event_id) + octet_length(trace_id) + octet_length(event_type)
               + octet_length(occurred_at) + octet_length(actor_type) + octet_length(actor_id) + octet_length(payload_hash) /* metadata bytes */ <= $5 AS small
          FROM dg_event_log
         WHERE (tenant_id, log_seq) > ($1, $2) AND (tenant_id, log_seq) <= ($1, $3)
         ORDER BY tenant_id, log_seq
         LIMIT $4) AS p
