INSERT INTO dg_run (tenant_id, run_id, projection, projections, mode, state, node, incarnation, until_seq)
VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $8)
