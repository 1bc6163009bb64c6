INSERT INTO dg_change (what, tenant_id, projection, subject, asked_by, through, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING change_id
