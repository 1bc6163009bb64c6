-- Places by number (ADR 12): the four bytes before the hash of a key are those of the digits of its id, so that ids of a `:` and ids with something
-- before their number lie with their neighbours, too. Also in the tables of a rebuild under way, which are not attached yet.
--
-- All rows of projections are written anew; what they leave behind goes with the next vacuum. Programs that place otherwise would not find
-- them, so serves_from rises: stop the nodes first.
DO $$
DECLARE
    -- Of the part of an id: of a UUID the first eight characters, else the last eight digits but the last two.
    placed CONSTANT text := $q$(SELECT substr(sha256(convert_to(CASE WHEN part ~ '[0-9]' AND octet_length(part) = 36 AND part LIKE '________-____-____-____-____________'
                                       THEN left(part, 8) ELSE left(right(regexp_replace(part, '[^0-9]', '', 'g'), 8), -2) END, 'UTF8')), 1, 4)
                                  FROM coalesce(substring(%1$I FROM '^(?:[^:]*:){%2$s}(?:[^:0-9]*:)*([^:]*)'), '') AS part)$q$;
    change record;
    own    text;
    place  text;
BEGIN
    FOR change IN SELECT * FROM (VALUES
        ('dg_cg_nodes', 'node_id', 1, ''),
        ('dg_cg_edges', 'edge_id', 2, ''),
        ('dg_trace_summary', 'trace_id', 0, ''),
        ('dg_policy_eval_index', 'index_id', 0, ''),
        ('dg_precedent_index', 'trace_id', 0, ', trace_id_key = %1$s || substr(trace_id_key, 5)')) AS c (parent, id, part, beside) LOOP
        place := format(placed, change.id, change.part);
        FOR own IN SELECT change.parent
                    UNION ALL
                   SELECT c.relname FROM dg_generation g JOIN pg_class c ON c.relname = change.parent || '_g' || g.generation
                    WHERE NOT c.relispartition AND pg_table_is_visible(c.oid) LOOP
            EXECUTE format('UPDATE %2$I SET row_key = %1$s || substr(row_key, 5)' || change.beside, place, own);
        END LOOP;
    END LOOP;
END $$;

UPDATE dg_schema SET serves_from = 9;
