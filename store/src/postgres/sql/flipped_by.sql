-- Whether the scope's live generation is the one that this run built.
SELECT EXISTS (
    SELECT FROM dg_scope s
      JOIN dg_generation g ON g.tenant_id = s.tenant_id AND g.generation = s.generation
     WHERE s.tenant_id = $1 AND s.projection = $2 AND g.run_id = $3)
