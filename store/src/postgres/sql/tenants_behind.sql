-- Who has work to do: per tenant one step in the primary key to find it, one backward step to its last event (as pairs, see page.sql),
-- and its scopes by their key. Without ORDER BY: the recursion gives tenants in order, one at a time, and stops with the LIMIT; sorting
-- would look at all of them for each page. What is no tenant (see TenantId) is left out before the page is counted.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log WHERE tenant_id > $2 ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, e.log_seq
  FROM tenants t
 CROSS JOIN LATERAL (
       SELECT l.log_seq FROM dg_event_log l
        WHERE (l.tenant_id, l.log_seq) > (t.tenant_id, 0) AND (l.tenant_id, l.log_seq) <= (t.tenant_id, $1)
        ORDER BY l.tenant_id DESC, l.log_seq DESC
        LIMIT 1) AS e
 WHERE octet_length(t.tenant_id) BETWEEN 1 AND 200
   AND (SELECT count(*) FROM dg_scope s
         WHERE s.tenant_id = t.tenant_id AND s.projection = ANY ($3::text[])
           AND (s.cursor_seq >= e.log_seq OR s.paused_at IS NOT NULL)) < cardinality($3::text[])
 LIMIT $4
