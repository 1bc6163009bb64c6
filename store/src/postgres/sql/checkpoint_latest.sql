-- The checkpoint that the next one is chained to. Two writers may read the same one; the fence at the end of the batch stops the
-- one that has been replaced.
SELECT hash FROM dg_digest_checkpoint WHERE tenant_id = $1 AND projection = $2 ORDER BY checkpoint_id DESC LIMIT 1
