-- The run's unfinished generation, and the backend that wrote it if it is still there.
SELECT g.generation, a.pid, g.writer_started::text
  FROM dg_generation g
  LEFT JOIN pg_stat_activity a ON a.pid = g.writer_pid AND a.backend_start = g.writer_started
 WHERE g.tenant_id = $1 AND g.projection = $2 AND g.run_id = $3 AND g.state = 'building'
