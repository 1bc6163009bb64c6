-- What a reader of the log would refuse is not let in, whoever writes it: a tenant id has 1 to 200 bytes and no U+0000, tags are a JSON list
-- of strings. Rows from before stay; `health` names those that are left out because of it. Older programs write nothing else.
CREATE TRIGGER IF NOT EXISTS dg_event_log_tenant BEFORE INSERT ON dg_event_log
WHEN length(CAST(NEW.tenant_id AS BLOB)) NOT BETWEEN 1 AND 200 OR instr(CAST(NEW.tenant_id AS BLOB), X'00') > 0
BEGIN
    SELECT RAISE(ABORT, 'dg_event_log_tenant: a tenant id has 1 to 200 bytes and no U+0000');
END;
CREATE TRIGGER IF NOT EXISTS dg_event_log_tags BEFORE INSERT ON dg_event_log
WHEN NEW.tags <> '[]'
 AND (NOT json_valid(NEW.tags) OR json_type(NEW.tags) <> 'array' OR EXISTS (SELECT 1 FROM json_each(NEW.tags) WHERE type <> 'text'))
BEGIN
    SELECT RAISE(ABORT, 'dg_event_log_tags: tags are a JSON list of strings');
END;
