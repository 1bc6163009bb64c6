-- Takes the epoch that was seen, unless its owner came back to life meanwhile. Runs on the session that will write, and notes it.
UPDATE dg_scope s
   SET owner_node = $3, owner_incarnation = $4, epoch = s.epoch + 1, epoch_token = $7,
       writer_pid = pg_backend_pid(),
       writer_started = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid())
 WHERE s.tenant_id = $1 AND s.projection = $2 AND s.epoch = $5 AND s.epoch_token = $6
   AND NOT EXISTS (SELECT FROM dg_node n
                    WHERE n.node = s.owner_node AND n.incarnation = s.owner_incarnation
                      AND n.expires_at > clock_timestamp() AND n.not_before <= clock_timestamp()
                      AND NOT (n.node = $3 AND n.incarnation = $4))
RETURNING s.epoch, s.generation, s.cursor_seq, s.digest, s.version
