-- What follows the table's name in the definitions of a partitioned table's own secondary indexes: USING … and so on.
SELECT row_number() OVER (ORDER BY c.relname),
       substr(pg_get_indexdef(i.indexrelid), strpos(pg_get_indexdef(i.indexrelid), ' USING ') + 1)
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = $1::text::regclass AND NOT i.indisprimary
