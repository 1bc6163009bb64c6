-- What the planner must believe of these tables from the first row on.
--
-- Every key starts with the tenant (and a projection's with the generation), so on a table without statistics all indexes look alike: the
-- planner takes "tenant = x AND generation = y" for nearly unique and may serve a look-up by row_key from an index that has only these
-- two in front, reading all of the tenant's rows for each key. Measured before this migration: prior state of the context graph 920 µs an
-- event instead of 13, append 516 events a second. Each session keeps its generic plans, so waiting for autovacuum is no answer.
--
-- n_distinct says, now and after every ANALYZE, that tenants and generations select little and hashes much. (Tenants are 10 and not 1, or
-- a page of a tenant's log would be read from the index on log_seq alone.) The options count from the first ANALYZE on, and that wants
-- rows: a few are put in, analysed and taken out again. log_seq is given, so none is drawn.

ALTER TABLE dg_event_log ALTER tenant_id SET (n_distinct = 10), ALTER trace_key SET (n_distinct = -0.1),
    ALTER event_key SET (n_distinct = -1), ALTER idempotency_uid SET (n_distinct = -1);
ALTER TABLE dg_cg_nodes_shared ALTER tenant_id SET (n_distinct = 10), ALTER generation SET (n_distinct = 1),
    ALTER row_key SET (n_distinct = -1);
ALTER TABLE dg_cg_edges_shared ALTER tenant_id SET (n_distinct = 10), ALTER generation SET (n_distinct = 1),
    ALTER row_key SET (n_distinct = -1), ALTER from_node_id_key SET (n_distinct = -0.2), ALTER to_node_id_key SET (n_distinct = -0.2);
ALTER TABLE dg_trace_summary_shared ALTER tenant_id SET (n_distinct = 10), ALTER generation SET (n_distinct = 1),
    ALTER row_key SET (n_distinct = -1);
ALTER TABLE dg_policy_eval_index_shared ALTER tenant_id SET (n_distinct = 10), ALTER generation SET (n_distinct = 1),
    ALTER row_key SET (n_distinct = -1);
ALTER TABLE dg_precedent_index_shared ALTER tenant_id SET (n_distinct = 10), ALTER generation SET (n_distinct = 1),
    ALTER row_key SET (n_distinct = -1), ALTER trace_id_key SET (n_distinct = -0.5), ALTER policy_id_key SET (n_distinct = -0.05);

INSERT INTO dg_event_log (tenant_id, log_seq, trace_seq, schema_version, event_key, trace_key, idempotency_uid, event_id, trace_id, event_type,
       occurred_at, producer_id, source_system, actor_type, actor_id, idempotency_key, tags, payload_hash, payload)
       OVERRIDING SYSTEM VALUE
SELECT (i % 10)::text, -i, i % 8, 1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), i::text, i::text, 'TraceStarted',
       '', '', '', '', '', i::text, '[]', '', repeat('x', 500)
  FROM generate_series(1, 300) AS i;
INSERT INTO dg_cg_nodes_shared (tenant_id, generation, row_key, node_id, node_type, trace_id, log_seq, created_at)
SELECT (i % 10)::text, 0, gen_random_uuid(), i::text, '', '', i, '' FROM generate_series(1, 300) AS i;
INSERT INTO dg_cg_edges_shared (tenant_id, generation, row_key, from_node_id_key, to_node_id_key, edge_id, edge_type, from_node_id,
       to_node_id, trace_id, log_seq, created_at)
SELECT (i % 10)::text, 0, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), i::text, '', '', '', '', i, '' FROM generate_series(1, 300) AS i;
INSERT INTO dg_trace_summary_shared (tenant_id, generation, row_key, trace_id, workflow, title, started_at, event_count, last_log_seq)
SELECT (i % 10)::text, 0, gen_random_uuid(), i::text, '', '', '', 1, i FROM generate_series(1, 300) AS i;
INSERT INTO dg_policy_eval_index_shared (tenant_id, generation, row_key, index_id, trace_id, policy_id, policy_version, log_seq, created_at)
SELECT (i % 10)::text, 0, gen_random_uuid(), i::text, '', '', '', i, '' FROM generate_series(1, 300) AS i;
INSERT INTO dg_precedent_index_shared (tenant_id, generation, row_key, trace_id_key, policy_id_key, source_event_id, trace_id, policy_id,
       policy_version, log_seq)
SELECT (i % 10)::text, 0, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), i::text, '', '', '', i FROM generate_series(1, 300) AS i;

ANALYZE dg_event_log, dg_cg_nodes_shared, dg_cg_edges_shared, dg_trace_summary_shared, dg_policy_eval_index_shared, dg_precedent_index_shared;

-- The statistics stay, the rows that were put in for them go, and no others: this may run on a log that is in use.
DELETE FROM dg_event_log WHERE log_seq < 0;
DELETE FROM dg_cg_nodes_shared WHERE generation = 0;
DELETE FROM dg_cg_edges_shared WHERE generation = 0;
DELETE FROM dg_trace_summary_shared WHERE generation = 0;
DELETE FROM dg_policy_eval_index_shared WHERE generation = 0;
DELETE FROM dg_precedent_index_shared WHERE generation = 0;

-- A table that is empty now is emptied for good, so that the planner takes it for one that was never counted. Locked before it is looked
-- at: nothing can come in between.
LOCK TABLE dg_event_log, dg_cg_nodes_shared, dg_cg_edges_shared, dg_trace_summary_shared, dg_policy_eval_index_shared,
     dg_precedent_index_shared IN ACCESS EXCLUSIVE MODE;
DO $$
DECLARE
    t    text;
    rows bigint;
BEGIN
    FOREACH t IN ARRAY ARRAY['dg_event_log', 'dg_cg_nodes_shared', 'dg_cg_edges_shared', 'dg_trace_summary_shared',
                             'dg_policy_eval_index_shared', 'dg_precedent_index_shared'] LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %I LIMIT 1) AS one', t) INTO rows;
        IF rows = 0 THEN
            EXECUTE format('TRUNCATE %I', t);
        END IF;
    END LOOP;
END $$;
