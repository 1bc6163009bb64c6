-- Rows that are written together lie together in the indexes (ADR 12), so that writing one costs the same behind a long history.
--
-- row_key was the hash of a key alone. Now four bytes stand before it that its neighbours have too, its place: the first of the SHA-256 of what
-- ids have in common that were made one after the other. Beside the hash of each end of an edge stands the position since which there is
-- that node, if the same batch wrote both, else 0, which says nothing: 0 is right for every edge that is there now.
--
-- All rows of projections are written anew, with their indexes: a minute and a gigabyte for some millions. Programs that know nothing of
-- this cannot work with it, so serves_from rises: stop the nodes first.

-- What is to be done to a table: its name, that of its column with a key, the expression of its id. A rebuild under way has tables of its own that
-- are not attached yet; their indexes are made anew when it goes on or ends.
DO $$
DECLARE
    -- Of an id: all but its last two characters; of a UUID the first eight.
    placed CONSTANT text := $q$substr(sha256(convert_to(CASE WHEN octet_length(%1$s) = 36 AND %1$s LIKE '________-____-____-____-____________'
                               THEN left(%1$s, 8) ELSE left(%1$s, -2) END, 'UTF8')), 1, 4) || uuid_send(%2$I)$q$;
    change record;
    own    text;
    i      text;
BEGIN
    FOR change IN SELECT * FROM (VALUES
        ('dg_cg_nodes', 'row_key', $q$substr(node_id, strpos(node_id, ':') + 1)$q$),
        ('dg_cg_edges', 'row_key', $q$split_part(edge_id, ':', 3)$q$),
        ('dg_trace_summary', 'row_key', 'trace_id'),
        ('dg_policy_eval_index', 'row_key', $q$split_part(index_id, ':', 1)$q$),
        ('dg_precedent_index', 'row_key', 'source_event_id'),
        ('dg_precedent_index', 'trace_id_key', 'trace_id')) AS c (parent, key, id) LOOP
        FOR own IN SELECT c.relname FROM dg_generation g JOIN pg_class c ON c.relname = change.parent || '_g' || g.generation
                    WHERE NOT c.relispartition AND pg_table_is_visible(c.oid) LOOP
            FOR i IN SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = own::regclass AND NOT indisprimary LOOP
                EXECUTE 'DROP INDEX ' || i;
            END LOOP;
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DATA TYPE bytea USING ' || format(placed, change.id, change.key), own, change.key);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DATA TYPE bytea USING ' || format(placed, change.id, change.key), change.parent, change.key);
    END LOOP;
    FOR own IN SELECT 'dg_cg_edges'
                UNION ALL
               SELECT c.relname FROM dg_generation g JOIN pg_class c ON c.relname = 'dg_cg_edges_g' || g.generation
                WHERE NOT c.relispartition AND pg_table_is_visible(c.oid) LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN from_node_id_since bigint NOT NULL DEFAULT 0,
                                       ADD COLUMN to_node_id_since bigint NOT NULL DEFAULT 0', own);
        -- Who writes an edge says it.
        EXECUTE format('ALTER TABLE %I ALTER COLUMN from_node_id_since DROP DEFAULT, ALTER COLUMN to_node_id_since DROP DEFAULT', own);
    END LOOP;
END $$;
DROP INDEX dg_cg_edges_from;
DROP INDEX dg_cg_edges_to;
CREATE INDEX dg_cg_edges_from ON dg_cg_edges (tenant_id, generation, from_node_id_since, from_node_id_key, log_seq);
CREATE INDEX dg_cg_edges_to ON dg_cg_edges (tenant_id, generation, to_node_id_since, to_node_id_key, log_seq);

-- What the planner must believe of them: as in V003, whose statistics of these columns went with their type.
ALTER TABLE dg_cg_nodes_shared ALTER row_key SET (n_distinct = -1);
ALTER TABLE dg_cg_edges_shared ALTER row_key SET (n_distinct = -1),
    ALTER from_node_id_since SET (n_distinct = -0.1), ALTER to_node_id_since SET (n_distinct = -0.1);
ALTER TABLE dg_trace_summary_shared ALTER row_key SET (n_distinct = -1);
ALTER TABLE dg_policy_eval_index_shared ALTER row_key SET (n_distinct = -1);
ALTER TABLE dg_precedent_index_shared ALTER row_key SET (n_distinct = -1), ALTER trace_id_key SET (n_distinct = -0.5);

INSERT INTO dg_cg_nodes_shared (tenant_id, generation, row_key, node_id, node_type, trace_id, log_seq, created_at)
SELECT (i % 10)::text, 0, uuid_send(gen_random_uuid()), i::text, '', '', i, '' FROM generate_series(1, 300) AS i;
INSERT INTO dg_cg_edges_shared (tenant_id, generation, row_key, from_node_id_key, to_node_id_key, from_node_id_since, to_node_id_since,
       edge_id, edge_type, from_node_id, to_node_id, trace_id, log_seq, created_at)
SELECT (i % 10)::text, 0, uuid_send(gen_random_uuid()), gen_random_uuid(), gen_random_uuid(), i, i, i::text, '', '', '', '', i, ''
  FROM generate_series(1, 300) AS i;
INSERT INTO dg_trace_summary_shared (tenant_id, generation, row_key, trace_id, workflow, title, started_at, event_count, last_log_seq)
SELECT (i % 10)::text, 0, uuid_send(gen_random_uuid()), i::text, '', '', '', 1, i FROM generate_series(1, 300) AS i;
INSERT INTO dg_policy_eval_index_shared (tenant_id, generation, row_key, index_id, trace_id, policy_id, policy_version, log_seq, created_at)
SELECT (i % 10)::text, 0, uuid_send(gen_random_uuid()), i::text, '', '', '', i, '' FROM generate_series(1, 300) AS i;
INSERT INTO dg_precedent_index_shared (tenant_id, generation, row_key, trace_id_key, policy_id_key, source_event_id, trace_id, policy_id,
       policy_version, log_seq)
SELECT (i % 10)::text, 0, uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), gen_random_uuid(), i::text, '', '', '', i
  FROM generate_series(1, 300) AS i;
ANALYZE dg_cg_nodes_shared, dg_cg_edges_shared, dg_trace_summary_shared, dg_policy_eval_index_shared, dg_precedent_index_shared;

-- The statistics stay, the rows go, and no others; a table that is empty is emptied for good, so that the planner takes it for one that was
-- never counted.
DO $$
DECLARE
    t    text;
    rows bigint;
BEGIN
    FOREACH t IN ARRAY ARRAY['dg_cg_nodes_shared', 'dg_cg_edges_shared', 'dg_trace_summary_shared', 'dg_policy_eval_index_shared',
                             'dg_precedent_index_shared'] LOOP
        EXECUTE format('DELETE FROM %I WHERE generation = 0', t);
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %I LIMIT 1) AS one', t) INTO rows;
        IF rows = 0 THEN
            EXECUTE format('TRUNCATE %I', t);
        END IF;
    END LOOP;
END $$;

UPDATE dg_schema SET serves_from = 7;
