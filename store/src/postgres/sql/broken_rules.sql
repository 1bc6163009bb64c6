-- Rules of the schema that rows from before the rule break: `migrate` proves a rule as soon as no row breaks it. (That of the log's tenants
-- is told row by row, see strays.sql.)
SELECT c.conrelid::regclass::text, c.conname::text, pg_get_expr(c.conbin, c.conrelid)
  FROM pg_constraint c
  JOIN pg_class t ON t.oid = c.conrelid
 WHERE c.contype = 'c' AND NOT c.convalidated AND c.conname LIKE 'dg\_%' AND c.conname <> 'dg_event_log_tenant'
   AND c.connamespace = current_schema()::regnamespace
 ORDER BY t.relname, c.conname
