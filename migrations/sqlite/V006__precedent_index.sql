-- precedent_index: policy evaluations at once; precedents when their trace finishes.
CREATE TABLE dg_policy_eval_index (
    tenant_id      TEXT    NOT NULL,
    generation     INTEGER NOT NULL,
    row_key        BLOB    NOT NULL,
    index_id       TEXT    NOT NULL,
    trace_id       TEXT    NOT NULL,
    policy_id      TEXT    NOT NULL,
    policy_version TEXT    NOT NULL,
    log_seq        INTEGER NOT NULL,
    created_at     TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) STRICT;

CREATE TABLE dg_precedent_index (
    tenant_id             TEXT    NOT NULL,
    generation            INTEGER NOT NULL,
    row_key               BLOB    NOT NULL,
    source_event_id       TEXT    NOT NULL,
    trace_id              TEXT    NOT NULL,
    trace_id_key          BLOB    NOT NULL,
    log_seq               INTEGER NOT NULL,
    policy_id             TEXT    NOT NULL,
    policy_id_key         BLOB    NOT NULL,
    policy_version        TEXT    NOT NULL,
    exception_id          TEXT,
    primary_entity_type   TEXT,
    primary_entity_system TEXT,
    primary_entity_id     TEXT,
    PRIMARY KEY (tenant_id, generation, row_key)
) STRICT;
-- The rows of a trace, replaced when it finishes.
CREATE INDEX dg_precedent_index_trace ON dg_precedent_index (tenant_id, generation, trace_id_key);
-- Who met this policy before.
CREATE INDEX dg_precedent_index_policy ON dg_precedent_index (tenant_id, generation, policy_id_key);
