-- Who may still deliver: holders of RowExclusiveLock on the log or a partition of it (an INSERT straight into a partition locks the
-- partition only), in this database. By virtual transaction, because a prepared transaction has no process: it keeps the id that
-- it ran under. All of them, or those of $1 that are still open. A prepared transaction that a restart recovered has a new id (-1/xid), and
-- nobody knows here which one it had: it counts as asked for.
WITH RECURSIVE log AS (
    SELECT 'dg_event_log'::regclass::oid AS relation
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN log ON i.inhparent = log.relation
)
SELECT l.virtualtransaction, min(l.pid),
       min(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)))::float8,
       min(coalesce(a.query, 'PREPARE TRANSACTION ' || quote_literal(p.gid))),
       min(coalesce(a.usename, p.owner)::text), min(a.application_name),
       -- A lock is waited for as long as its holder waits.
       coalesce(bool_or(a.wait_event = 'SyncRep' OR a.wait_event_type = 'Lock'
                        AND EXISTS (SELECT FROM pg_stat_activity s WHERE s.wait_event = 'SyncRep' AND s.datid = a.datid)), false)
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN LATERAL (
       SELECT x.prepared, x.gid, x.owner
         FROM pg_locks t JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
        WHERE l.pid IS NULL AND t.locktype = 'transactionid' AND t.virtualtransaction = l.virtualtransaction
        LIMIT 1) AS p ON true
 WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.relation IN (SELECT relation FROM log)
   AND ($1::text[] IS NULL OR l.virtualtransaction = ANY ($1::text[]) OR l.virtualtransaction LIKE '-1/%')
 GROUP BY l.virtualtransaction
