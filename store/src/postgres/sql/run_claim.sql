-- A claim that the job has already stays. Another job's claim is a unique violation: it was faster.
INSERT INTO dg_run_claim (tenant_id, projection, run_id)
SELECT $1, p, $3 FROM unnest($2::text[]) AS p
 WHERE NOT EXISTS (SELECT FROM dg_run_claim c WHERE c.tenant_id = $1 AND c.projection = p AND c.run_id = $3)
