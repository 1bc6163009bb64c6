-- One pass over the scopes, and one over the index of the open failures.
SELECT (SELECT count(*) FROM dg_failure WHERE resolved_at IS NULL),
       count(*) FILTER (WHERE paused_at IS NOT NULL),
       count(*) FILTER (WHERE deviating),
       count(*) FILTER (WHERE drift_generation = generation)
  FROM dg_scope
