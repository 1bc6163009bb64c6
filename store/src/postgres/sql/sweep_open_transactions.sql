-- Every open transaction holds a lock on its own virtual id, read-only ones included, and every role may see it. Those of other
-- databases cannot read these tables, and that of the turn ($1) reads nothing.
SELECT l.virtualtransaction
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid NOT IN (pg_backend_pid(), $1)
   AND (a.datid IS NULL OR a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()))
