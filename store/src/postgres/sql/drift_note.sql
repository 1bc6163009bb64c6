-- Notes which of these scopes drifted and which did not, as one run found them: at the generation that it looked at, and while the run is
-- this process's.
UPDATE dg_scope s
   SET drift_generation = CASE WHEN found.drifted THEN s.generation END,
       drift_found_at = CASE WHEN found.drifted THEN clock_timestamp() END,
       drift_run = CASE WHEN found.drifted THEN r.run_id END
  FROM unnest($4::text[], $5::bigint[], $6::boolean[]) AS found (projection, generation, drifted), dg_run r
 WHERE r.run_id = $1 AND r.node = $2 AND r.incarnation = $3 AND r.state = 'running'
   AND s.tenant_id = r.tenant_id AND s.projection = found.projection AND s.generation = found.generation
   AND (found.drifted OR s.drift_generation IS NOT NULL)
