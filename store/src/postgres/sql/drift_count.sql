-- By the index of the few scopes that ever drifted.
SELECT count(*) FROM dg_scope WHERE drift_generation IS NOT NULL AND drift_generation = generation
