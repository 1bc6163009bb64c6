INSERT INTO dg_generation
       (tenant_id, generation, projection, state, run_id, epoch, epoch_token, cursor_seq, digest, version, writer_pid, writer_started)
VALUES ($1, $2, $3, 'building', $4, 1, $5, 0, '', $6, pg_backend_pid(),
        (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()))
