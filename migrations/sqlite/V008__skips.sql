-- Poison events that somebody decided to leave out of a projection: who, why, because of which failure. Nothing is deleted here; a
-- revoked skip stays as history.
CREATE TABLE dg_skip (
    skip_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id     TEXT    NOT NULL,
    projection    TEXT    NOT NULL,
    log_seq       INTEGER NOT NULL,
    failure_id    INTEGER NOT NULL,
    event_id      TEXT    NOT NULL,
    trace_id      TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    skipped_by    TEXT    NOT NULL,
    skipped_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;
-- The skips that hold, in the order of the log; one an event.
CREATE UNIQUE INDEX dg_skip_active ON dg_skip (tenant_id, projection, log_seq) WHERE revoked_at_ms IS NULL;

-- Whether rows were written past a skipped event: a property of the generation. A build's is on its own row, the live one's on its
-- scope, like cursor and digest; a flip carries it over.
ALTER TABLE dg_generation ADD COLUMN deviating INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dg_scope ADD COLUMN deviating INTEGER NOT NULL DEFAULT 0;
