-- The record of the operators' requests: two rows per change, `asked` and `ended`.

-- name: note
-- Of a process with the database, the database's role is the proof.
INSERT INTO dg_audit (phase, request_id, identity, token_id, on_behalf_of, peer, door, tenant, action, projection, target, run_id, reason,
                      through, process)
VALUES ('asked', $1, CASE WHEN $6 = 'database' THEN 'role ' || session_user ELSE $2 END, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
RETURNING audit_id

-- name: end
-- The first end stays.
INSERT INTO dg_audit (audit_id, phase, outcome, code, message) VALUES ($1, 'ended', $2, $3, $4) ON CONFLICT DO NOTHING

-- name: list
-- Latest first: of this tenant (or of all, and of none), before this one. The last column says if its process has a lease.
SELECT a.audit_id, to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), a.action, a.tenant, a.projection, a.target, a.run_id,
       a.reason, a.through, a.identity, a.token_id, a.on_behalf_of, a.peer, a.door, a.request_id,
       to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.outcome, e.code, e.message,
       EXISTS (SELECT FROM dg_node n
                WHERE n.incarnation = a.process AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp())
  FROM dg_audit a
  LEFT JOIN dg_audit e ON e.audit_id = a.audit_id AND e.phase = 'ended'
 WHERE a.phase = 'asked' AND ($1::text IS NULL OR a.tenant = $1) AND ($2::bigint IS NULL OR a.audit_id < $2)
   AND ($3::bigint IS NULL OR a.at >= to_timestamp($3 / 1000.0)) AND ($4::text IS NULL OR a.identity = $4)
   AND ($5::text IS NULL OR a.action = $5) AND ($6::text IS NULL OR coalesce(e.outcome, 'none') = $6)
 ORDER BY a.audit_id DESC
 LIMIT $7
