-- The fence of a rebuild's batch, on its generation's row.
UPDATE dg_generation
SET cursor = ?5, digest = ?6, version = ?7, deviating = deviating OR ?8
WHERE generation = ?1 AND state = 'building' AND cursor = ?2 AND epoch = ?3 AND epoch_token = ?4
