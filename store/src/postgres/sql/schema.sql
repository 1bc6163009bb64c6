-- The schema.

-- name: migration_holder
-- Who holds the lock of a migration, and for how long.
SELECT l.pid, a.usename::text, a.application_name, extract(epoch FROM clock_timestamp() - a.xact_start)::float8
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.relation = to_regclass('refinery_schema_history')
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
 LIMIT 1

-- name: index_is_built
-- Built beforehand, without holding up appends, and valid: a build that broke off leaves an index that is not.
SELECT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass($1::text) AND i.indisvalid)

-- name: strangers
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

-- name: unproven_rules
-- What proves the rules that were added without a look at the rows that were there.
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.conrelid::regclass, c.conname)
  FROM pg_constraint c
 WHERE c.contype = 'c' AND NOT c.convalidated AND c.conname LIKE 'dg\_%' AND c.connamespace = current_schema()::regnamespace
 ORDER BY c.conname
