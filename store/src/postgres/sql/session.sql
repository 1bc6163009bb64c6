-- Sessions: their first statement.

-- name: begin
-- The first thing that every session does: it looks at the server, and makes names mean the same whoever made what (ADR 11).
--
-- Unqualified functions and operators are those of pg_catalog and of the schema that the program's tables are in, where nobody but the
-- migrator may make any; a relation that stands for another one (a view) is not read, where the server can be told so. Both are decided
-- here, before the first statement that could be captured: every name above the line is qualified, those below are pg_catalog's. This
-- text is ASCII: a database of another encoding has to be able to read it.
DO $$
DECLARE
    home text := pg_catalog.current_schema();
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- ----
    IF current_setting('server_version_num')::integer < 140000 THEN
        RAISE EXCEPTION 'this server is PostgreSQL %; 14 or newer is needed', current_setting('server_version') USING ERRCODE = 'DG002';
    END IF;
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'this database is encoded in %; UTF8 is needed, as no other encoding holds every text of an event', current_setting('server_encoding')
              USING ERRCODE = 'DG004';
    END IF;
    IF current_setting('decisiongraph.session', true) IS DISTINCT FROM 'begun' THEN
        RAISE EXCEPTION 'the settings that were sent with the start of this session have not arrived: a pooler in between drops them, and without them nothing bounds how long a stopped client holds what others need'
              USING ERRCODE = 'DG003';
    END IF;
    IF current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL THEN
        PERFORM set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false);
    END IF;
    PERFORM set_config('search_path', coalesce(quote_ident(home) || ', ', '') || 'pg_temp', false);
END
$$
