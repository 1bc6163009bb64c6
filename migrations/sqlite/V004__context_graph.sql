-- context_graph: nodes and edges, first write wins. `row_key` is the 128-bit hash of the canonical key beside it.
CREATE TABLE dg_cg_nodes (
    tenant_id  TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    row_key    BLOB    NOT NULL,
    node_id    TEXT    NOT NULL,
    node_type  TEXT    NOT NULL,
    trace_id   TEXT    NOT NULL,
    log_seq    INTEGER NOT NULL,
    created_at TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) STRICT;

CREATE TABLE dg_cg_edges (
    tenant_id        TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    row_key          BLOB    NOT NULL,
    edge_id          TEXT    NOT NULL,
    edge_type        TEXT    NOT NULL,
    from_node_id     TEXT    NOT NULL,
    from_node_id_key BLOB    NOT NULL,
    to_node_id       TEXT    NOT NULL,
    to_node_id_key   BLOB    NOT NULL,
    trace_id         TEXT    NOT NULL,
    log_seq          INTEGER NOT NULL,
    created_at       TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) STRICT;
-- A node's edges in either direction, in the order of the log.
CREATE INDEX dg_cg_edges_from ON dg_cg_edges (tenant_id, generation, from_node_id_key, log_seq);
CREATE INDEX dg_cg_edges_to ON dg_cg_edges (tenant_id, generation, to_node_id_key, log_seq);
