-- Whether the table of a generation is attached (null: not), or its detachment was interrupted; and about how many rows it has.
SELECT i.inhdetachpending, greatest(c.reltuples, 0)::bigint
  FROM pg_class c
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
 WHERE c.oid = to_regclass($1::text)
