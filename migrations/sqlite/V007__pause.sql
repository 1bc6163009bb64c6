-- A scope that is left alone until somebody resumes it: durable, so that it survives restarts and changes of owner. All three or none.
-- Epoch, cursor and generation do not change with it, and the commit protocol does not look at it.
ALTER TABLE dg_scope ADD COLUMN paused_at_ms INTEGER;
ALTER TABLE dg_scope ADD COLUMN paused_reason TEXT CHECK ((paused_at_ms IS NULL) = (paused_reason IS NULL));
ALTER TABLE dg_scope ADD COLUMN paused_by TEXT CHECK ((paused_at_ms IS NULL) = (paused_by IS NULL));
