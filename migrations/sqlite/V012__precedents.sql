-- The precedents of a trace lie together: the place before the hash of an event's id is that of its trace (ADR 12), which stands before the
-- trace's own hash already.
UPDATE dg_precedent_index SET row_key = CAST(substr(trace_id_key, 1, 4) || substr(row_key, 5) AS BLOB);

UPDATE dg_schema SET serves_from = 12;
