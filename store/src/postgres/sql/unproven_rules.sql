-- What proves the rules that were added without a look at the rows that were there.
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.conrelid::regclass, c.conname)
  FROM pg_constraint c
 WHERE c.contype = 'c' AND NOT c.convalidated AND c.conname LIKE 'dg\_%' AND c.connamespace = current_schema()::regnamespace
 ORDER BY c.conname
