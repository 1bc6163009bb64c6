-- A scope that is left alone until somebody resumes it: durable, so that it survives restarts and changes of owner. All three or none.
-- Epoch, cursor and generation do not change with it, and the commit protocol does not look at it.
ALTER TABLE dg_scope
    ADD COLUMN paused_at     timestamptz,
    ADD COLUMN paused_reason text COLLATE "C",
    ADD COLUMN paused_by     text COLLATE "C",
    ADD CONSTRAINT dg_scope_paused
        CHECK ((paused_at IS NULL) = (paused_reason IS NULL) AND (paused_at IS NULL) = (paused_by IS NULL));
