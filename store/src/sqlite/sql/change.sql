-- The record of the operators' requests.

-- name: note
INSERT INTO dg_change (asked_at_ms, what, tenant_id, projection, subject, asked_by, through, reason)
VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), ?1, ?2, ?3, ?4, ?5, ?6, ?7)
RETURNING change_id

-- name: end
-- The first outcome stays.
UPDATE dg_change SET outcome = ?2 WHERE change_id = ?1 AND outcome IS NULL

-- name: list
-- Latest first: of this tenant (or of all, and of none), before this one.
SELECT change_id, strftime('%Y-%m-%dT%H:%M:%fZ', asked_at_ms / 1000.0, 'unixepoch'), what, tenant_id, projection, subject,
       asked_by, through, reason, outcome
FROM dg_change
WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR change_id < ?2)
ORDER BY change_id DESC
LIMIT ?3
