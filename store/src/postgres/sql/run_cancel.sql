-- $2: nobody is there to stop it.
UPDATE dg_run
   SET cancel_requested = true,
       state = CASE WHEN $2 THEN 'cancelled' ELSE state END,
       finished_at = CASE WHEN $2 THEN clock_timestamp() END
 WHERE run_id = $1
