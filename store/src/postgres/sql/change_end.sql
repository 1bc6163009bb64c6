-- An outcome stays as it was written first.
UPDATE dg_change c SET outcome = $2 WHERE c.change_id = $1 AND c.outcome IS NULL
