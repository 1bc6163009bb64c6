-- The event log: append-only, one order for the whole database.
--
-- AUTOINCREMENT, so that a position is never used twice, even when somebody deletes the log's tail.
-- Ids are unbounded text; what is looked up by is their 128-bit hash (`*_key`, `*_uid`), and the text is compared with
-- every hit. Text compares by its UTF-8 bytes (BINARY). Every index starts with the tenant.
CREATE TABLE dg_event_log (
    log_seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id          TEXT    NOT NULL,
    event_id           TEXT    NOT NULL,
    trace_id           TEXT    NOT NULL,
    trace_seq          INTEGER NOT NULL,
    event_type         TEXT    NOT NULL,
    occurred_at        TEXT    NOT NULL,
    producer_id        TEXT    NOT NULL,
    source_system      TEXT    NOT NULL,
    source_subsystem   TEXT,
    actor_type         TEXT    NOT NULL,
    actor_id           TEXT    NOT NULL,
    idempotency_key    TEXT    NOT NULL,
    correlation_id     TEXT,
    causation_event_id TEXT,
    schema_version     INTEGER NOT NULL,
    tags               TEXT    NOT NULL,
    payload_hash       TEXT    NOT NULL,
    event_key          BLOB    NOT NULL,
    trace_key          BLOB    NOT NULL,
    idempotency_uid    BLOB    NOT NULL,
    recorded_at_ms     INTEGER NOT NULL,
    -- Last, because it is the long one: whoever wants the other columns does not walk its overflow pages.
    payload            TEXT    NOT NULL
) STRICT;

-- The pages of one tenant, and its last event.
CREATE UNIQUE INDEX dg_event_log_position ON dg_event_log (tenant_id, log_seq);
CREATE UNIQUE INDEX dg_event_log_event ON dg_event_log (tenant_id, event_key);
CREATE UNIQUE INDEX dg_event_log_idempotency ON dg_event_log (tenant_id, idempotency_uid);
-- No two events of a trace have the same number, whatever the program believes.
CREATE UNIQUE INDEX dg_event_log_trace_seq ON dg_event_log (tenant_id, trace_key, trace_seq);
-- A trace's history in the order of the log, and its latest event below a position.
CREATE INDEX dg_event_log_trace ON dg_event_log (tenant_id, trace_key, log_seq);

-- The identity of this history: a copy of the file has it too, a new file has another.
CREATE TABLE dg_history (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    identity BLOB NOT NULL
) STRICT;
INSERT INTO dg_history (only_row, identity) VALUES (1, randomblob(16));
