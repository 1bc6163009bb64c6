-- The tables of the three projections. `decisiongraph-projections` says what their columns are; each is found by its row_key, the
-- hash of its first text column (the canonical key), and has a hash beside each column that rows are looked up by ({column}_key).
--
-- Each is partitioned by generation: one partition is shared by small generations (numbers below 2^40), a large rebuild gets one of
-- its own (dg_..._g<number>), which is bulk loaded, indexed late and attached. There is no DEFAULT partition: attaching would scan it.

CREATE TABLE dg_cg_nodes (
    generation bigint NOT NULL,
    log_seq    bigint NOT NULL,
    row_key    uuid   NOT NULL,
    tenant_id  text   COLLATE "C" NOT NULL,
    node_id    text   COLLATE "C" NOT NULL,
    node_type  text   COLLATE "C" NOT NULL,
    trace_id   text   COLLATE "C" NOT NULL,
    created_at text   COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) PARTITION BY RANGE (generation);
CREATE TABLE dg_cg_nodes_shared PARTITION OF dg_cg_nodes FOR VALUES FROM (MINVALUE) TO (1099511627776);

CREATE TABLE dg_cg_edges (
    generation       bigint NOT NULL,
    log_seq          bigint NOT NULL,
    row_key          uuid   NOT NULL,
    from_node_id_key uuid   NOT NULL,
    to_node_id_key   uuid   NOT NULL,
    tenant_id        text   COLLATE "C" NOT NULL,
    edge_id          text   COLLATE "C" NOT NULL,
    edge_type        text   COLLATE "C" NOT NULL,
    from_node_id     text   COLLATE "C" NOT NULL,
    to_node_id       text   COLLATE "C" NOT NULL,
    trace_id         text   COLLATE "C" NOT NULL,
    created_at       text   COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) PARTITION BY RANGE (generation);
CREATE INDEX dg_cg_edges_from ON dg_cg_edges (tenant_id, generation, from_node_id_key, log_seq);
CREATE INDEX dg_cg_edges_to ON dg_cg_edges (tenant_id, generation, to_node_id_key, log_seq);
CREATE TABLE dg_cg_edges_shared PARTITION OF dg_cg_edges FOR VALUES FROM (MINVALUE) TO (1099511627776);

CREATE TABLE dg_trace_summary (
    generation            bigint NOT NULL,
    event_count           bigint NOT NULL,
    last_log_seq          bigint NOT NULL,
    row_key               uuid   NOT NULL,
    tenant_id             text   COLLATE "C" NOT NULL,
    trace_id              text   COLLATE "C" NOT NULL,
    workflow              text   COLLATE "C" NOT NULL,
    title                 text   COLLATE "C" NOT NULL,
    primary_entity_type   text   COLLATE "C",
    primary_entity_system text   COLLATE "C",
    primary_entity_id     text   COLLATE "C",
    started_at            text   COLLATE "C" NOT NULL,
    outcome               text   COLLATE "C",
    finished_at           text   COLLATE "C",
    PRIMARY KEY (tenant_id, generation, row_key)
) PARTITION BY RANGE (generation);
-- Precedents without a policy: the latest finished traces first.
CREATE INDEX dg_trace_summary_latest ON dg_trace_summary (tenant_id, generation, last_log_seq) WHERE finished_at IS NOT NULL;
CREATE TABLE dg_trace_summary_shared PARTITION OF dg_trace_summary FOR VALUES FROM (MINVALUE) TO (1099511627776);

CREATE TABLE dg_policy_eval_index (
    generation     bigint NOT NULL,
    log_seq        bigint NOT NULL,
    row_key        uuid   NOT NULL,
    tenant_id      text   COLLATE "C" NOT NULL,
    index_id       text   COLLATE "C" NOT NULL,
    trace_id       text   COLLATE "C" NOT NULL,
    policy_id      text   COLLATE "C" NOT NULL,
    policy_version text   COLLATE "C" NOT NULL,
    created_at     text   COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, generation, row_key)
) PARTITION BY RANGE (generation);
CREATE TABLE dg_policy_eval_index_shared PARTITION OF dg_policy_eval_index FOR VALUES FROM (MINVALUE) TO (1099511627776);

CREATE TABLE dg_precedent_index (
    generation            bigint NOT NULL,
    log_seq               bigint NOT NULL,
    row_key               uuid   NOT NULL,
    trace_id_key          uuid   NOT NULL,
    policy_id_key         uuid   NOT NULL,
    tenant_id             text   COLLATE "C" NOT NULL,
    source_event_id       text   COLLATE "C" NOT NULL,
    trace_id              text   COLLATE "C" NOT NULL,
    policy_id             text   COLLATE "C" NOT NULL,
    policy_version        text   COLLATE "C" NOT NULL,
    exception_id          text   COLLATE "C",
    primary_entity_type   text   COLLATE "C",
    primary_entity_system text   COLLATE "C",
    primary_entity_id     text   COLLATE "C",
    PRIMARY KEY (tenant_id, generation, row_key)
) PARTITION BY RANGE (generation);
CREATE INDEX dg_precedent_index_trace ON dg_precedent_index (tenant_id, generation, trace_id_key);
CREATE INDEX dg_precedent_index_policy ON dg_precedent_index (tenant_id, generation, policy_id_key);
CREATE TABLE dg_precedent_index_shared PARTITION OF dg_precedent_index FOR VALUES FROM (MINVALUE) TO (1099511627776);
