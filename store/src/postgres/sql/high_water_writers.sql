-- Who may still deliver: holders of RowExclusiveLock on the log or a partition of it (an INSERT straight into a partition locks the
-- partition only), in this database. By virtual transaction, because a prepared transaction has no process. All of them, or
-- those of $1 that are still open.
WITH RECURSIVE log AS (
    SELECT 'dg_event_log'::regclass::oid AS relation
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN log ON i.inhparent = log.relation
)
SELECT l.virtualtransaction, min(l.pid),
       min(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)))::float8,
       min(coalesce(a.query, CASE WHEN p.gid IS NOT NULL THEN 'PREPARE TRANSACTION ' || quote_literal(p.gid) END))
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction::text
 WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.relation IN (SELECT relation FROM log)
   AND ($1::text[] IS NULL OR l.virtualtransaction = ANY ($1::text[]))
 GROUP BY l.virtualtransaction
