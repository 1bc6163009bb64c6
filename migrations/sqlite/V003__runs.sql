-- Jobs: catch-up, rebuild, verify.
CREATE TABLE dg_run (
    -- Order of creation.
    run              INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id           BLOB    NOT NULL UNIQUE,
    tenant_id        TEXT    NOT NULL,
    projection       TEXT    NOT NULL,
    mode             TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    node             TEXT    NOT NULL,
    incarnation      BLOB    NOT NULL,
    until_log_seq    INTEGER,
    current          TEXT,
    cursor           INTEGER NOT NULL DEFAULT 0,
    target           INTEGER NOT NULL DEFAULT 0,
    events           INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    error_category   TEXT,
    error_message    TEXT,
    report           TEXT,
    created_at_ms    INTEGER NOT NULL,
    finished_at_ms   INTEGER
) STRICT;
CREATE INDEX dg_run_tenant ON dg_run (tenant_id, run);

-- Which running job holds a scope: one at a time.
CREATE TABLE dg_run_claim (
    tenant_id  TEXT NOT NULL,
    projection TEXT NOT NULL,
    run_id     BLOB NOT NULL,
    PRIMARY KEY (tenant_id, projection)
) STRICT, WITHOUT ROWID;
CREATE INDEX dg_run_claim_run ON dg_run_claim (run_id);
