-- Notes whether the scope of a projection (?4) drifted (?6), as a run found it: at the generation that it looked at (?5), and while the run is
-- this process's.
UPDATE dg_scope
SET drift_generation = CASE WHEN ?6 THEN generation END,
    drift_found_at_ms = CASE WHEN ?6 THEN ?7 END,
    drift_run = CASE WHEN ?6 THEN ?1 END
WHERE projection = ?4 AND generation = ?5 AND (?6 OR drift_generation IS NOT NULL)
  AND tenant_id = (SELECT tenant_id FROM dg_run WHERE run_id = ?1 AND node = ?2 AND incarnation = ?3 AND state = 'running')
