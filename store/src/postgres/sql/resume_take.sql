UPDATE dg_generation g
   SET epoch = g.epoch + 1, epoch_token = $3, writer_pid = pg_backend_pid(),
       writer_started = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid())
 WHERE g.tenant_id = $1 AND g.generation = $2 AND g.state = 'building'
RETURNING g.epoch, g.cursor_seq, g.digest, g.version
