UPDATE dg_run SET current_projection = $4, cursor_seq = $5, target_seq = $6, events = $7
 WHERE run_id = $1 AND node = $2 AND incarnation = $3 AND state = 'running'
