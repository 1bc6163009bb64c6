-- Every tenant that has events: one step in the primary key a tenant, not one an event.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM dg_event_log ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.tenant_id FROM dg_event_log l WHERE l.tenant_id > t.tenant_id ORDER BY l.tenant_id LIMIT 1)
      FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT tenant_id FROM tenants WHERE tenant_id IS NOT NULL ORDER BY tenant_id COLLATE "C"
