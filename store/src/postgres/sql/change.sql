-- The record of the operators' requests.

-- name: note
INSERT INTO dg_change (what, tenant_id, projection, subject, asked_by, through, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING change_id

-- name: end
-- The first outcome stays.
UPDATE dg_change c SET outcome = $2 WHERE c.change_id = $1 AND c.outcome IS NULL

-- name: list
-- Latest first: of this tenant (or of all, and of none), before this one.
SELECT c.change_id, to_char(c.asked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), c.what, c.tenant_id, c.projection, c.subject,
       c.asked_by, c.through, c.reason, c.outcome
  FROM dg_change c
 WHERE ($1::text IS NULL OR c.tenant_id = $1) AND ($2::bigint IS NULL OR c.change_id < $2)
 ORDER BY c.change_id DESC
 LIMIT $3
