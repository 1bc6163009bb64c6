-- The fence of a batch of a rebuild; see commit_scope.sql.
SELECT dg_commit_build($1, $2, $3, $4, $5, $6, $7, $8)
