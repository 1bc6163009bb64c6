-- Tenants of the log that are none (see TenantId), each with its first event: one step in the primary key a tenant. Nothing is looked at
-- where the schema has kept them out from the first row on.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log
      WHERE NOT EXISTS (SELECT FROM pg_constraint
                         WHERE conrelid = 'dg_event_log'::regclass AND conname = 'dg_event_log_tenant' AND convalidated)
      ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT t.tenant_id, e.log_seq
  FROM tenants t
 CROSS JOIN LATERAL (SELECT l.log_seq FROM dg_event_log l WHERE l.tenant_id = t.tenant_id ORDER BY l.tenant_id, l.log_seq LIMIT 1) AS e
 WHERE octet_length(t.tenant_id) NOT BETWEEN 1 AND 200
 LIMIT $1
