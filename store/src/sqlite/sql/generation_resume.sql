-- A new fence on this run's unfinished generation: what its former writer prepared is refused from here on.
UPDATE dg_generation
SET epoch = epoch + 1, epoch_token = ?4
WHERE tenant_id = ?1 AND projection = ?2 AND run_id = ?3 AND state = 'building'
RETURNING generation, epoch, cursor, digest, version
