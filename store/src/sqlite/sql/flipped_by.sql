-- Whether the scope's live generation is the one that this run built.
SELECT EXISTS (
    SELECT 1 FROM dg_scope AS scope
      JOIN dg_generation AS built ON built.generation = scope.generation
     WHERE scope.tenant_id = ?1 AND scope.projection = ?2 AND built.run_id = ?3)
