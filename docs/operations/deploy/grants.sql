-- The rights of the roles of roles.sql: exactly what the program needs under each of them.
--
--   psql -1 -v ON_ERROR_STOP=1 -f grants.sql DATABASE       by decisiongraph_migrator (or an administrator): after every migrate
--
-- Guarantees: may run again at any time, also while nodes work. It is one statement, and revokes every right that is
-- not listed here. It leaves the node's own tables alone when they are already right (a GRANT at the moment of an
-- ATTACH makes one of the two fail). A table without a rule is an error, not an omission. A new projection needs no rule: its
-- partitioned table identifies it. No name in it can mean a foreign object: see roles.sql.
--
--   the log          node and appender insert every column but log_seq and recorded_at, so that only the migrator can
--                    choose a position (the high-water mark depends on that). No role updates or deletes. The appender
--                    does not see payloads.
--   the seal         the node adds leaves, nodes and notes, and moves the one row of a tree. It updates and deletes
--                    nothing that is sealed; old notes are thinned.
--   projections      the node owns each partitioned table and the partitions that it made (in dg_partitions). The
--                    shared partition belongs to the migrator.
--   all else         as the rules say; the reader reads everything, the appender nothing.

DO $$
DECLARE
    home    text := pg_catalog.current_schema();
    log     text;
    thing   record;
    columns text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    log := format('%I.dg_event_log', home);
    IF to_regclass(log) IS NULL OR to_regclass(format('%I.dg_turn', home)) IS NULL THEN
        RAISE EXCEPTION 'there is no DecisionGraph schema of this version here: run `decisiongraph migrate` as decisiongraph_migrator first';
    END IF;

    -- Foreign objects: the same check as in roles.sql.
    FOR thing IN
        WITH trusted AS (
            SELECT r.oid FROM pg_roles r WHERE r.rolsuper OR r.rolname = 'decisiongraph_migrator'
        ), places AS (
            SELECT n.oid FROM pg_namespace n WHERE n.nspname IN (home, 'dg_partitions')
        )
        SELECT p.oid::regprocedure::text AS name, p.proowner AS owner
          FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM places) AND p.proowner NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT 'operator ' || o.oid::regoperator::text, o.oprowner
          FROM pg_operator o WHERE o.oprnamespace IN (SELECT oid FROM places) AND o.oprowner NOT IN (SELECT oid FROM trusted)
        UNION ALL
        SELECT 'view ' || c.oid::regclass::text, c.relowner
          FROM pg_class c
         WHERE c.relkind IN ('v', 'm', 'f') AND c.relnamespace IN (SELECT oid FROM places) AND c.relowner NOT IN (SELECT oid FROM trusted)
    LOOP
        RAISE EXCEPTION '% was made by %, whose password somebody may have: find out who, drop it, change the password, then run this again',
            thing.name, pg_get_userbyid(thing.owner);
    END LOOP;

    -- Tables that the node makes from now on are readable too.
    ALTER DEFAULT PRIVILEGES FOR ROLE decisiongraph_node IN SCHEMA dg_partitions GRANT SELECT ON TABLES TO decisiongraph_reader;
    -- A role that receives a table must be allowed to create one in its schema. The right lasts for this transaction,
    -- which no session sees before its end.
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO decisiongraph_node', home);

    FOR thing IN
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, format('%I.%I', n.nspname, c.relname) AS name,
               n.nspname = 'dg_partitions' OR c.relkind = 'p' AND c.relname <> 'dg_event_log' AS is_nodes,
               c.relowner = 'decisiongraph_node'::regrole::oid AS has_owner,
               CASE WHEN c.relkind <> 'S' THEN
                   has_table_privilege('decisiongraph_reader', c.oid, 'SELECT')
                   AND NOT has_table_privilege('decisiongraph_reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                   AND NOT has_table_privilege('decisiongraph_appender', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
               END AS is_right,
               CASE WHEN parent.relname <> 'dg_event_log' THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE rules.node END AS node,
               CASE WHEN c.relkind <> 'S' OR c.relname = 'dg_event_log_log_seq_seq' THEN 'SELECT' END AS reader
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
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
               ('dg_audit',                               'SELECT, INSERT'),
               ('dg_audit_audit_id_seq',                  ''),
               ('dg_seal',                                'SELECT, INSERT, UPDATE'),
               ('dg_seal_chunk',                          'SELECT, INSERT'),
               ('dg_seal_node',                           'SELECT, INSERT'),
               ('dg_seal_note',                           'SELECT, INSERT, DELETE'),
               ('dg_seal_note_number_seq',                ''),
               ('dg_run',                                 'SELECT, INSERT, UPDATE'),
               ('dg_run_claim',                           'SELECT, INSERT, DELETE'),
               ('dg_turn',                                'INSERT'),
               ('dg_trace_turn',                          'SELECT, UPDATE'),
               ('dg_schema',                              'SELECT'),
               ('refinery_schema_history',                'SELECT')
          ) AS rules (name, node) ON rules.name = c.relname
         WHERE n.nspname IN (home, 'dg_partitions')
           AND (c.relname LIKE 'dg\_%' OR c.relname = 'refinery_schema_history')
           AND c.relkind IN ('r', 'p', 'S')
    LOOP
        IF thing.is_nodes THEN
            -- Null: the table was dropped meanwhile.
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

    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM decisiongraph_node', home);

    SELECT string_agg(quote_ident(attname), ', ') INTO columns
      FROM pg_attribute
     WHERE attrelid = to_regclass(log) AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('log_seq', 'recorded_at');
    EXECUTE format('GRANT INSERT (%s) ON %s TO decisiongraph_node, decisiongraph_appender', columns, log);
    -- Columns that an append looks up: positions, identities and hashes of stored events, and the schema's version.
    SELECT string_agg(quote_ident(attname), ', ') INTO columns
      FROM pg_attribute
     WHERE attrelid = to_regclass(log) AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('payload', 'recorded_at');
    EXECUTE format('GRANT SELECT (%s) ON %s TO decisiongraph_appender', columns, log);
    -- To lock a row is a kind of update.
    EXECUTE format('GRANT SELECT, UPDATE ON %I.dg_trace_turn TO decisiongraph_appender', home);
    EXECUTE format('GRANT SELECT ON %1$I.dg_schema, %1$I.refinery_schema_history TO decisiongraph_appender', home);

    -- The commit protocol belongs to the node.
    FOR thing IN
        SELECT p.oid::regprocedure::text AS name
          FROM pg_proc p
         WHERE p.pronamespace = home::regnamespace AND p.proname LIKE 'dg\_%'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, decisiongraph_appender, decisiongraph_reader', thing.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO decisiongraph_node', thing.name);
    END LOOP;
END
$$;
