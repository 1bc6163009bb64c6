-- What a verify found of a scope's live rows, remembered until somebody acts: the generation whose rows drifted, when that was found, by
-- which run. All three or none. It holds for that generation alone, so a flip ends it, whichever program flips; a clean verify takes it back.
ALTER TABLE dg_scope
    ADD COLUMN drift_generation bigint,
    ADD COLUMN drift_found_at   timestamptz,
    ADD COLUMN drift_run        uuid,
    ADD CONSTRAINT dg_scope_drift_whole
        CHECK ((drift_generation IS NULL) = (drift_found_at IS NULL) AND (drift_generation IS NULL) = (drift_run IS NULL));
-- They are counted now and then. Batches change none of these columns.
CREATE INDEX dg_scope_drift ON dg_scope (tenant_id, projection) WHERE drift_generation IS NOT NULL;
