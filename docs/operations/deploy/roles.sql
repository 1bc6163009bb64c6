-- The roles of a DecisionGraph database, PostgreSQL 14 and newer. Their rights are in grants.sql, which runs after it.
--
--   psql -1 -v ON_ERROR_STOP=1 -f roles.sql DATABASE        by an administrator: once, again after a restore and before an upgrade's migrate
--   decisiongraph migrate                                   by decisiongraph_migrator
--   psql -1 -v ON_ERROR_STOP=1 -f grants.sql DATABASE       by decisiongraph_migrator (or an administrator): after every migrate
--
--   decisiongraph_migrator   owns the schema's objects and migrates
--   decisiongraph_node       runs nodes. It owns the tables of the projections, because it attaches and detaches their
--                            partitions. It may create tables in the schema dg_partitions, which is on no search path
--   decisiongraph_appender   a producer: appends
--   decisiongraph_reader     queries
--
-- Guarantees: may run again at any time, also while nodes work. Objects of another role (a database that one user ran)
-- go to the migrator. It sets no passwords: use \password, or let pg_hba.conf require certificates. The database
-- belongs to the runtime: the PUBLIC pseudo-role loses every right on it. The schema is the first of the search path.
--
-- An administrator runs this, so no name in it may mean a foreign object. The search path is pg_catalog from the first
-- unqualified name on. The script stops when an untrusted role made functions, operators or views here.

DO $$
DECLARE
    home  text := pg_catalog.current_schema();
    who   text;
    thing record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', home);
    FOREACH who IN ARRAY ARRAY['decisiongraph_migrator', 'decisiongraph_node', 'decisiongraph_appender', 'decisiongraph_reader'] LOOP
        IF to_regrole(who) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN', who);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), who);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', home, who);
        -- Names mean the same for every role, whatever schemas other roles create.
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', who, current_database(), home);
    END LOOP;
    -- Only the migrator creates objects in the schema. (It may grant that for the moment in which grants.sql gives the
    -- node a table.)
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM decisiongraph_node, decisiongraph_appender, decisiongraph_reader', home);
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO decisiongraph_migrator WITH GRANT OPTION', home);
    -- The node creates tables: a large rebuild's partitions.
    IF to_regnamespace('dg_partitions') IS NULL THEN
        CREATE SCHEMA dg_partitions;
    END IF;
    ALTER SCHEMA dg_partitions OWNER TO decisiongraph_migrator;
    REVOKE ALL ON SCHEMA dg_partitions FROM PUBLIC, decisiongraph_appender;
    GRANT CREATE, USAGE ON SCHEMA dg_partitions TO decisiongraph_node;
    GRANT USAGE ON SCHEMA dg_partitions TO decisiongraph_reader;
    -- A migration may change the projections' tables, which belong to the node.
    GRANT decisiongraph_node TO decisiongraph_migrator;
    -- Lets health and `why` name the query of an appender that holds the mark. Ending a former writer's session needs
    -- no right: all nodes are one role.
    GRANT pg_read_all_stats TO decisiongraph_node;

    -- Foreign objects: the same check as in grants.sql.
    FOR thing IN
        WITH trusted AS (
            SELECT r.oid FROM pg_roles r
             WHERE r.rolsuper OR r.rolname = 'decisiongraph_migrator'
                OR r.oid = (SELECT c.relowner FROM pg_class c
                             WHERE c.relnamespace = home::regnamespace AND c.relname = 'refinery_schema_history')
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

    FOR thing IN
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, format('%I.%I', n.nspname, c.relname) AS name
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN (home, 'dg_partitions')
           AND (c.relname LIKE 'dg\_%' OR c.relname = 'refinery_schema_history')
           AND c.relkind IN ('r', 'p', 'S')
           AND c.relowner NOT IN ('decisiongraph_migrator'::regrole::oid, 'decisiongraph_node'::regrole::oid)
           -- Sequences of identity columns follow their table.
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i' AND c.relkind = 'S')
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text
          FROM pg_proc p
         WHERE p.pronamespace = home::regnamespace AND p.proname LIKE 'dg\_%'
           AND p.proowner <> 'decisiongraph_migrator'::regrole::oid
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO decisiongraph_migrator', thing.kind, thing.name);
    END LOOP;
END
$$;
