-- The roles of roles.sql are walls (ADR 11), and what a reader would refuse is not let in.
--
-- The tables that a node makes for a large rebuild get a schema of their own: it is the only one in which the node may create anything, and
-- no session has it on its search path. So nothing that a node plants (a function, an operator) is ever what an unqualified name means.
-- Programs that look for these tables elsewhere cannot work with that, so serves_from rises: stop the nodes first.
DO $$
DECLARE
    own record;
BEGIN
    IF to_regnamespace('dg_partitions') IS NULL THEN
        BEGIN
            CREATE SCHEMA dg_partitions;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE EXCEPTION 'the schema dg_partitions is missing, and % may not create it: run `psql -1 -v ON_ERROR_STOP=1 -f roles.sql` of this version as an administrator first, or give this role CREATE on the database',
                current_user USING ERRCODE = 'insufficient_privilege';
        END;
    END IF;
    FOR own IN SELECT c.relname FROM pg_class c
                WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname ~ '^dg_[a-z_]+_g[0-9]+$' LOOP
        EXECUTE format('ALTER TABLE %I SET SCHEMA dg_partitions', own.relname);
    END LOOP;
END $$;

-- As the program reads them: a tenant id has 1 to 200 bytes, tags are a JSON list of strings, a trace is numbered from 0 and can go on, a
-- rolling digest has its length. New rows have to; of those from before, `migrate` finds out behind this migration, and `health` names
-- what breaks a rule and how to mend it.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['dg_event_log', 'dg_scope', 'dg_generation', 'dg_failure', 'dg_skip', 'dg_run'] LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (octet_length(tenant_id) BETWEEN 1 AND 200) NOT VALID', t, t || '_tenant');
    END LOOP;
    FOREACH t IN ARRAY ARRAY['dg_scope', 'dg_generation'] LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (octet_length(digest) IN (0, 2048)) NOT VALID', t, t || '_digest');
    END LOOP;
END $$;
ALTER TABLE dg_event_log
    ADD CONSTRAINT dg_event_log_tags
        CHECK (tags = '[]' OR tags ~ '^[ \t\n\r]*\[[ \t\n\r]*(?:"(?:[^"\\\u0001-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"(?:[ \t\n\r]*,[ \t\n\r]*"(?:[^"\\\u0001-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")*)?[ \t\n\r]*\][ \t\n\r]*$')
        NOT VALID,
    ADD CONSTRAINT dg_event_log_trace_seq CHECK (trace_seq BETWEEN 0 AND 9223372036854775806) NOT VALID;

-- Turns: what one process at a time does. A row that is inserted and never committed: whoever inserts the same waits for the end of that
-- transaction. Not an advisory lock, which any role may take and keep.
CREATE TABLE dg_turn (what text COLLATE "C" NOT NULL PRIMARY KEY);

UPDATE dg_schema SET serves_from = 10;
