-- Readers see the new generation from here on. The epoch grows and the owner stays: a batch that the live worker prepared for
-- the old generation is fenced, and the worker takes the scope again.
UPDATE dg_scope
SET generation = ?3, cursor = ?4, digest = ?5, version = ?6, epoch = epoch + 1, epoch_token = ?7, updated_at_ms = ?8,
    deviating = (SELECT built.deviating FROM dg_generation AS built WHERE built.generation = ?3)
WHERE tenant_id = ?1 AND projection = ?2
