-- Who holds the lock of a migration, and for how long.
SELECT l.pid, a.usename::text, a.application_name, extract(epoch FROM clock_timestamp() - a.xact_start)::float8
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.relation = to_regclass('refinery_schema_history')
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
 LIMIT 1
