-- ?2 tenants behind ?1 that have events or scopes, by jumping from one to the next in both indexes. Without ORDER BY: the recursion gives
-- them in order and stops with the LIMIT. A row whose tenant no program could have written is left out.
WITH RECURSIVE tenant (tenant_id) AS (
    SELECT min(tenant_id) FROM (SELECT min(tenant_id) AS tenant_id FROM dg_event_log WHERE tenant_id > ?1
                                UNION ALL SELECT min(tenant_id) FROM dg_scope WHERE tenant_id > ?1)
    UNION ALL
    SELECT (SELECT min(tenant_id)
            FROM (SELECT (SELECT min(log.tenant_id) FROM dg_event_log AS log WHERE log.tenant_id > tenant.tenant_id) AS tenant_id
                  UNION ALL SELECT (SELECT min(scope.tenant_id) FROM dg_scope AS scope WHERE scope.tenant_id > tenant.tenant_id)))
    FROM tenant
    WHERE tenant.tenant_id IS NOT NULL
)
SELECT tenant_id,
       coalesce((SELECT max(log.log_seq) FROM dg_event_log AS log WHERE log.tenant_id = tenant.tenant_id), 0),
       (SELECT count(*) FROM dg_scope AS scope WHERE scope.tenant_id = tenant.tenant_id),
       (SELECT min(scope.cursor) FROM dg_scope AS scope WHERE scope.tenant_id = tenant.tenant_id),
       (SELECT count(scope.paused_at_ms) FROM dg_scope AS scope WHERE scope.tenant_id = tenant.tenant_id)
FROM tenant
WHERE typeof(tenant_id) = 'text' AND length(CAST(tenant_id AS BLOB)) BETWEEN 1 AND 200 AND instr(tenant_id, char(0)) = 0
LIMIT ?2
