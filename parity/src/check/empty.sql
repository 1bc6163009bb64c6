-- Empties a database of this program for the next scenario: as after its migrations, but for the numbers of generations.
--
-- Why it has this shape: which tables there are is the migrations' business, so the catalogue is asked instead of a list kept here.
-- Partitions of single generations (dg_..._g<number>) go; the schema history (not a dg_ table, or marked by its name) stays.
DO $$
DECLARE
    doomed record;
BEGIN
    SET LOCAL lock_timeout = '10s';
    FOR doomed IN
        SELECT oid::regclass AS name FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '^dg_.*_g[0-9]+$'
    LOOP
        EXECUTE format('DROP TABLE %s', doomed.name);
    END LOOP;
    EXECUTE (
        SELECT format('TRUNCATE %s RESTART IDENTITY', string_agg(oid::regclass::text, ', ')) FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
           AND relname LIKE 'dg\_%' AND relname NOT LIKE '%schema_history%'
    );
END
$$;
