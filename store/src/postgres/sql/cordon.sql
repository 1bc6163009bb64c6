-- The latest word counts.
INSERT INTO dg_cordon (node, draining, reason, cordoned_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (node) DO UPDATE
   SET draining = excluded.draining, reason = excluded.reason, cordoned_by = excluded.cordoned_by, cordoned_at = clock_timestamp()
