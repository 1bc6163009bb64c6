-- $2 tenants behind $1, found by steps in the primary key, with all their scopes; without the digests, which are most of a row.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id, 1::bigint AS place FROM dg_scope WHERE tenant_id > $1 ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT s.tenant_id FROM dg_scope s WHERE s.tenant_id > t.tenant_id ORDER BY s.tenant_id LIMIT 1), t.place + 1
      FROM tenants t WHERE t.tenant_id IS NOT NULL AND t.place < $2
)
SELECT s.tenant_id, s.projection, s.owner_node,
       EXISTS (SELECT FROM dg_node n
                WHERE n.node = s.owner_node AND n.incarnation = s.owner_incarnation
                  AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()),
       s.epoch, s.cursor_seq, s.paused_at IS NOT NULL
  FROM tenants t
 CROSS JOIN LATERAL (SELECT * FROM dg_scope s WHERE s.tenant_id = t.tenant_id) AS s
