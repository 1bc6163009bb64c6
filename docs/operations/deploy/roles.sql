-- The roles of a DecisionGraph database, PostgreSQL 14 and newer. What each may do stands in grants.sql, which comes after it.
--
--   psql -1 -v ON_ERROR_STOP=1 -f roles.sql DATABASE        by an administrator: once, and again after a restore
--   decisiongraph migrate                                   by decisiongraph_migrator
--   psql -1 -v ON_ERROR_STOP=1 -f grants.sql DATABASE       by decisiongraph_migrator (or an administrator): after every migrate
--
--   decisiongraph_migrator   owns the schema's objects and migrates
--   decisiongraph_node       runs nodes; owns the tables of the projections, because it attaches and detaches their partitions
--   decisiongraph_appender   a producer: appends
--   decisiongraph_reader     queries
--
-- Guarantees: may run again at any time, also while nodes work. Objects that another role made (a database that was run by one user)
-- go to the migrator. No passwords here: set them with \password, or let pg_hba.conf ask for certificates.
-- The database is the runtime's own: the PUBLIC pseudo-role loses everything on it. The schema is the first of the search path.

DO $$
DECLARE
    who   text;
    thing record;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', current_schema());
    FOREACH who IN ARRAY ARRAY['decisiongraph_migrator', 'decisiongraph_node', 'decisiongraph_appender', 'decisiongraph_reader'] LOOP
        IF to_regrole(who) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN', who);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), who);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), who);
        -- Names mean the same to everybody, whatever schemas somebody else makes.
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', who, current_database(), current_schema());
    END LOOP;
    -- The node makes tables: a large rebuild's partitions.
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO decisiongraph_migrator, decisiongraph_node', current_schema());
    -- A migration may change the projections' tables, which are the node's.
    GRANT decisiongraph_node TO decisiongraph_migrator;
    -- So that health and `why` can name the query of an appender that holds the mark. Ending a former writer's session needs nothing:
    -- all nodes are one role.
    GRANT pg_read_all_stats TO decisiongraph_node;

    FOR thing IN
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS name
          FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace
           AND (c.relname LIKE 'dg\_%' OR c.relname = 'refinery_schema_history')
           AND c.relkind IN ('r', 'p', 'S')
           AND c.relowner NOT IN ('decisiongraph_migrator'::regrole, 'decisiongraph_node'::regrole)
           -- Those of identity columns follow their table.
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i' AND c.relkind = 'S')
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text
          FROM pg_proc p
         WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'dg\_%'
           AND p.proowner <> 'decisiongraph_migrator'::regrole
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO decisiongraph_migrator', thing.kind, thing.name);
    END LOOP;
END
$$;
