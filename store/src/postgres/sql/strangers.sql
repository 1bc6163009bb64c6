-- Functions, operators and views in the program's schemas that a role made which is neither an administrator nor the owner of the schema's
-- objects: the program makes none as any other. (Run before the first statement of a migration: V010 and roles.sql have taken from the node
-- the right to make any where they could be captured.)
WITH trusted AS (
    SELECT r.oid FROM pg_roles r
     WHERE r.rolsuper OR r.rolname IN (current_user, session_user)
        OR r.oid = (SELECT c.relowner FROM pg_class c WHERE c.oid = to_regclass('refinery_schema_history'))
        OR r.oid = (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database())
), home AS (
    SELECT n.oid FROM pg_namespace n WHERE n.nspname IN (current_schema(), 'dg_partitions')
)
SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text
  FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM home) AND p.proowner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT 'operator ' || o.oid::regoperator::text, pg_get_userbyid(o.oprowner)::text
  FROM pg_operator o WHERE o.oprnamespace IN (SELECT oid FROM home) AND o.oprowner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT 'view ' || c.oid::regclass::text, pg_get_userbyid(c.relowner)::text
  FROM pg_class c WHERE c.relkind IN ('v', 'm', 'f') AND c.relnamespace IN (SELECT oid FROM home) AND c.relowner NOT IN (SELECT oid FROM trusted)
 LIMIT 20
