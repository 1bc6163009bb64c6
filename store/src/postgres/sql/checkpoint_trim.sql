-- Keeps the newest $3. The subquery is null, and nothing goes, while there are fewer.
DELETE FROM dg_digest_checkpoint
 WHERE tenant_id = $1 AND projection = $2
   AND checkpoint_id <= (SELECT checkpoint_id FROM dg_digest_checkpoint
                          WHERE tenant_id = $1 AND projection = $2
                          ORDER BY checkpoint_id DESC OFFSET $3 LIMIT 1)
