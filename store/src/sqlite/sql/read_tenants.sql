-- Every tenant, by jumping from one to the next in the index: costs a step a tenant, not a step an event.
WITH RECURSIVE tenant (tenant_id) AS (
    SELECT min(tenant_id) FROM dg_event_log
    UNION ALL
    SELECT (SELECT min(log.tenant_id) FROM dg_event_log AS log WHERE log.tenant_id > tenant.tenant_id)
    FROM tenant
    WHERE tenant.tenant_id IS NOT NULL
)
SELECT tenant_id FROM tenant WHERE tenant_id IS NOT NULL
