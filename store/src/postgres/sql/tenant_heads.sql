-- $2 tenants behind $1 that have events or scopes: per tenant one step in each primary key to find it, one backward step to its last event
-- (as pairs, see page.sql), and its scopes by their key. Without ORDER BY, as in tenants_behind.sql. A row whose tenant no program could
-- have written is left out.
WITH RECURSIVE tenants AS (
    SELECT least((SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > $1 ORDER BY l.tenant_id LIMIT 1),
                 (SELECT s.tenant_id FROM dg_scope s WHERE s.tenant_id > $1 ORDER BY s.tenant_id LIMIT 1)) AS tenant_id
    UNION ALL
    SELECT least((SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1),
                 (SELECT s.tenant_id FROM dg_scope s WHERE s.tenant_id > t.tenant_id ORDER BY s.tenant_id LIMIT 1))
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, coalesce(e.log_seq, 0), s.scopes, s.cursor_seq, s.paused
  FROM tenants t
  LEFT JOIN LATERAL (
       SELECT l.log_seq FROM dg_event_log l
        WHERE (l.tenant_id, l.log_seq) > (t.tenant_id, 0) AND (l.tenant_id, l.log_seq) <= (t.tenant_id, 9223372036854775807)
        ORDER BY l.tenant_id DESC, l.log_seq DESC
        LIMIT 1) AS e ON true
 CROSS JOIN LATERAL (
       SELECT count(*) AS scopes, min(s.cursor_seq) AS cursor_seq, count(s.paused_at) AS paused
         FROM dg_scope s WHERE s.tenant_id = t.tenant_id) AS s
 WHERE octet_length(t.tenant_id) BETWEEN 1 AND 200
 LIMIT $2
