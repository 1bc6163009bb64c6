-- Every tenant that has events, and its last one: per tenant one step in the primary key to find it and one backward step (as pairs, see
-- page.sql).
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, e.log_seq
  FROM tenants t
 CROSS JOIN LATERAL (
       SELECT l.log_seq FROM dg_event_log l
        WHERE (l.tenant_id, l.log_seq) > (t.tenant_id, 0) AND (l.tenant_id, l.log_seq) <= (t.tenant_id, 9223372036854775807)
        ORDER BY l.tenant_id DESC, l.log_seq DESC
        LIMIT 1) AS e
 WHERE t.tenant_id IS NOT NULL
