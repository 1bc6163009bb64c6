-- trace_summary: one row a trace.
CREATE TABLE dg_trace_summary (
    tenant_id             TEXT    NOT NULL,
    generation            INTEGER NOT NULL,
    row_key               BLOB    NOT NULL,
    trace_id              TEXT    NOT NULL,
    workflow              TEXT    NOT NULL,
    title                 TEXT    NOT NULL,
    primary_entity_type   TEXT,
    primary_entity_system TEXT,
    primary_entity_id     TEXT,
    started_at            TEXT    NOT NULL,
    outcome               TEXT,
    finished_at           TEXT,
    event_count           INTEGER NOT NULL,
    last_log_seq          INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) STRICT;
-- Precedents without a policy: finished traces, newest first. Unfinished ones stay out of the index.
CREATE INDEX dg_trace_summary_finished ON dg_trace_summary (tenant_id, generation, last_log_seq)
    WHERE finished_at IS NOT NULL;
