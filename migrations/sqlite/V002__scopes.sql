-- Ownership, generations, failures and digest checkpoints: what a projection is at, and who may move it.

-- A process that is alive, until `expires_at_ms` on the database's clock.
CREATE TABLE dg_node (
    node          TEXT    PRIMARY KEY,
    incarnation   BLOB    NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row a scope. Takeover, flip and commit all update this row, so they cannot interleave.
CREATE TABLE dg_scope (
    tenant_id         TEXT    NOT NULL,
    projection        TEXT    NOT NULL,
    owner_node        TEXT,
    owner_incarnation BLOB,
    epoch             INTEGER NOT NULL,
    epoch_token       BLOB    NOT NULL,
    generation        INTEGER NOT NULL,
    cursor            INTEGER NOT NULL,
    digest            BLOB    NOT NULL,
    version           INTEGER NOT NULL,
    updated_at_ms     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, projection)
) STRICT;

-- The rows that a scope's readers see (live), that a rebuild prepares (building), or that wait for their removal (retired).
-- Numbers are never used twice. Epoch, cursor and digest are those of the rebuild; a live generation's are on its scope.
CREATE TABLE dg_generation (
    generation    INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id     TEXT    NOT NULL,
    projection    TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('live', 'building', 'retired')),
    run_id        BLOB,
    epoch         INTEGER NOT NULL,
    epoch_token   BLOB    NOT NULL,
    cursor        INTEGER NOT NULL,
    digest        BLOB    NOT NULL,
    version       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    retired_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX dg_generation_live ON dg_generation (tenant_id, projection) WHERE state = 'live';
CREATE UNIQUE INDEX dg_generation_build ON dg_generation (tenant_id, projection, run_id) WHERE state = 'building';
CREATE INDEX dg_generation_retired ON dg_generation (generation) WHERE state = 'retired';

-- Poison events. One open row an event; a resolved one stays as history.
CREATE TABLE dg_failure (
    failure_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id        TEXT    NOT NULL,
    projection       TEXT    NOT NULL,
    log_seq          INTEGER NOT NULL,
    event_id         TEXT    NOT NULL,
    trace_id         TEXT    NOT NULL,
    event_type       TEXT    NOT NULL,
    category         TEXT    NOT NULL,
    message          TEXT    NOT NULL,
    batch_from       INTEGER NOT NULL,
    batch_to         INTEGER NOT NULL,
    digest_before    TEXT    NOT NULL,
    attempts         INTEGER NOT NULL,
    first_seen_at_ms INTEGER NOT NULL,
    last_seen_at_ms  INTEGER NOT NULL,
    resolved_at_ms   INTEGER
) STRICT;
CREATE UNIQUE INDEX dg_failure_open ON dg_failure (tenant_id, projection, log_seq) WHERE resolved_at_ms IS NULL;

-- Digests at positions, each chained to the one before it: two stores find by bisection where they parted.
CREATE TABLE dg_digest_checkpoint (
    tenant_id      TEXT    NOT NULL,
    projection     TEXT    NOT NULL,
    checkpoint     INTEGER NOT NULL,
    cursor         INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    digest         TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    previous_hash  TEXT    NOT NULL,
    hash           TEXT    NOT NULL,
    recorded_at_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, projection, checkpoint)
) STRICT, WITHOUT ROWID;
