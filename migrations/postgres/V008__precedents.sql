-- The precedents of a trace lie together: the place before the hash of an event's id is that of its trace (ADR 12), which stands before the
-- trace's own hash already. Also in the tables of a rebuild under way, which are not attached yet.
DO $$
DECLARE
    own text;
BEGIN
    FOR own IN SELECT 'dg_precedent_index'
                UNION ALL
               SELECT c.relname FROM dg_generation g JOIN pg_class c ON c.relname = 'dg_precedent_index_g' || g.generation
                WHERE NOT c.relispartition AND pg_table_is_visible(c.oid) LOOP
        EXECUTE format('UPDATE %I SET row_key = substr(trace_id_key, 1, 4) || substr(row_key, 5)', own);
    END LOOP;
END $$;

UPDATE dg_schema SET serves_from = 8;
