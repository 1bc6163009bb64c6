-- What the roles of roles.sql may do: everything that the program does under them, and nothing else.
--
--   psql -1 -v ON_ERROR_STOP=1 -f grants.sql DATABASE       by decisiongraph_migrator (or an administrator): after every migrate
--
-- Guarantees: may run again at any time, also while nodes work: it is one statement, takes away what is not listed here, and leaves the
-- node's own tables alone when they are right already (a GRANT at the very moment of an ATTACH makes one of the two fail). A table that it
-- has no rule for is an error, not an omission. A new projection needs no rule: it is known by its partitioned table.
--
--   the log          node and appender insert every column but log_seq and recorded_at, so that nobody but the migrator can choose a
--                    position (the high-water mark rests on that); nobody updates or deletes. The appender does not see payloads.
--   projections      the node owns each partitioned table and the partitions it made (g<number>); the shared partition is the migrator's.
--   all else         as the rules say; the reader reads everything, the appender nothing.

DO $$
DECLARE
    thing   record;
    columns text;
BEGIN
    IF to_regclass('dg_event_log') IS NULL THEN
        RAISE EXCEPTION 'there is no DecisionGraph schema here: run `decisiongraph migrate` as decisiongraph_migrator first';
    END IF;

    -- What the node makes from now on can be read, too.
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE decisiongraph_node IN SCHEMA %I GRANT SELECT ON TABLES TO decisiongraph_reader',
                   current_schema());

    FOR thing IN
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS name,
               c.relname ~ '_g[0-9]+$' OR c.relkind = 'p' AND c.relname <> 'dg_event_log' AS is_nodes,
               c.relowner = 'decisiongraph_node'::regrole AS has_owner,
               CASE WHEN c.relkind <> 'S' THEN
                   has_table_privilege('decisiongraph_reader', c.oid, 'SELECT')
                   AND NOT has_table_privilege('decisiongraph_reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                   AND NOT has_table_privilege('decisiongraph_appender', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
               END AS is_right,
               CASE WHEN parent.relname <> 'dg_event_log' THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE rules.node END AS node,
               CASE WHEN c.relkind <> 'S' OR c.relname = 'dg_event_log_log_seq_seq' THEN 'SELECT' END AS reader
          FROM pg_class c
          LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
          LEFT JOIN pg_class parent ON parent.oid = i.inhparent
          LEFT JOIN (VALUES
               ('dg_event_log',                           'SELECT'),
               ('dg_event_log_log_seq_seq',               'SELECT'),
               ('dg_node',                                'SELECT, INSERT, UPDATE, DELETE'),
               ('dg_cordon',                              'SELECT, INSERT, UPDATE, DELETE'),
               ('dg_scope',                               'SELECT, INSERT, UPDATE'),
               ('dg_generation',                          'SELECT, INSERT, UPDATE, DELETE'),
               ('dg_generation_shared_seq',               'USAGE'),
               ('dg_generation_own_seq',                  'USAGE'),
               ('dg_digest_checkpoint',                   'SELECT, INSERT, DELETE'),
               ('dg_digest_checkpoint_checkpoint_id_seq', ''),
               ('dg_failure',                             'SELECT, INSERT, UPDATE'),
               ('dg_failure_failure_id_seq',              ''),
               ('dg_skip',                                'SELECT, INSERT, UPDATE'),
               ('dg_skip_skip_id_seq',                    ''),
               ('dg_run',                                 'SELECT, INSERT, UPDATE'),
               ('dg_run_claim',                           'SELECT, INSERT, DELETE'),
               ('dg_schema',                              'SELECT'),
               ('refinery_schema_history',                'SELECT')
          ) AS rules (name, node) ON rules.name = c.relname
         WHERE c.relnamespace = current_schema()::regnamespace
           AND (c.relname LIKE 'dg\_%' OR c.relname = 'refinery_schema_history')
           AND c.relkind IN ('r', 'p', 'S')
    LOOP
        IF thing.is_nodes THEN
            -- Null: it was dropped meanwhile.
            CONTINUE WHEN thing.has_owner AND coalesce(thing.is_right, true);
            IF NOT thing.has_owner THEN
                EXECUTE format('ALTER TABLE %s OWNER TO decisiongraph_node', thing.name);
            END IF;
        ELSIF thing.node IS NULL THEN
            RAISE EXCEPTION 'grants.sql has no rule for %: take the file of the program that migrated', thing.name;
        ELSE
            EXECUTE format('REVOKE ALL ON %s %s FROM decisiongraph_node', thing.kind, thing.name);
            IF thing.node <> '' THEN
                EXECUTE format('GRANT %s ON %s %s TO decisiongraph_node', thing.node, thing.kind, thing.name);
            END IF;
        END IF;
        EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC, decisiongraph_appender, decisiongraph_reader', thing.kind, thing.name);
        IF thing.reader IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s %s TO decisiongraph_reader', thing.reader, thing.kind, thing.name);
        END IF;
    END LOOP;

    SELECT string_agg(quote_ident(attname), ', ') INTO columns
      FROM pg_attribute
     WHERE attrelid = 'dg_event_log'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('log_seq', 'recorded_at');
    EXECUTE format('GRANT INSERT (%s) ON dg_event_log TO decisiongraph_node, decisiongraph_appender', columns);
    -- What an append looks up: positions, identities and hashes of what is stored, and whether the schema fits.
    SELECT string_agg(quote_ident(attname), ', ') INTO columns
      FROM pg_attribute
     WHERE attrelid = 'dg_event_log'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('payload', 'recorded_at');
    EXECUTE format('GRANT SELECT (%s) ON dg_event_log TO decisiongraph_appender', columns);
    GRANT SELECT ON dg_schema, refinery_schema_history TO decisiongraph_appender;

    -- The commit protocol is the node's.
    FOR thing IN
        SELECT p.oid::regprocedure::text AS name
          FROM pg_proc p
         WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'dg\_%'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, decisiongraph_appender, decisiongraph_reader', thing.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO decisiongraph_node', thing.name);
    END LOOP;
END
$$;
