DELETE FROM dg_run_claim WHERE run_id = $1
