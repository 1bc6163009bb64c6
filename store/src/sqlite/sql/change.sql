-- The record of the operators' requests: two rows per change, `asked` and `ended`.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: note
INSERT INTO dg_audit (audit_id, phase, at_ms, request_id, identity, token_id, on_behalf_of, peer, door, tenant, action, projection,
                      target, run_id, reason, through, process)
SELECT coalesce(max(audit_id), 0) + 1, 'asked', {now}, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14
FROM dg_audit
RETURNING audit_id

-- name: end
-- The first end stays.
INSERT INTO dg_audit (audit_id, phase, at_ms, outcome, code, message) VALUES (?1, 'ended', {now}, ?2, ?3, ?4) ON CONFLICT DO NOTHING

-- name: list
-- Latest first: of this tenant (or of all, and of none), before this one. The last column says if its process has a lease.
SELECT a.audit_id, strftime('%Y-%m-%dT%H:%M:%fZ', a.at_ms / 1000.0, 'unixepoch'), a.action, a.tenant, a.projection, a.target, a.run_id,
       a.reason, a.through, a.identity, a.token_id, a.on_behalf_of, a.peer, a.door, a.request_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.at_ms / 1000.0, 'unixepoch'), e.outcome, e.code, e.message,
       EXISTS (SELECT 1 FROM dg_node AS n
               WHERE n.incarnation = a.process AND n.expires_at_ms > {now} AND n.not_before_ms <= {now})
FROM dg_audit AS a
LEFT JOIN dg_audit AS e ON e.audit_id = a.audit_id AND e.phase = 'ended'
WHERE a.phase = 'asked' AND (?1 IS NULL OR a.tenant = ?1) AND (?2 IS NULL OR a.audit_id < ?2)
  AND (?3 IS NULL OR a.at_ms >= ?3) AND (?4 IS NULL OR a.identity = ?4)
  AND (?5 IS NULL OR a.action = ?5) AND (?6 IS NULL OR coalesce(e.outcome, 'none') = ?6)
ORDER BY a.audit_id DESC
LIMIT ?7
