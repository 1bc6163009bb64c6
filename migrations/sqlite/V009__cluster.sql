-- Membership: what a node says of itself with its heartbeat. On the embedded store there is one at most; the columns are those of
-- PostgreSQL, where a process without a protocol is a command at work.
ALTER TABLE dg_node ADD COLUMN address TEXT;
ALTER TABLE dg_node ADD COLUMN program TEXT;
ALTER TABLE dg_node ADD COLUMN protocol INTEGER;
ALTER TABLE dg_node ADD COLUMN joined_at_ms INTEGER NOT NULL DEFAULT 0;

-- Nodes that take no tenants until somebody says otherwise: by name, so that a restart of the node changes nothing.
CREATE TABLE dg_cordon (
    node           TEXT    PRIMARY KEY,
    -- Gives away those that it has, too.
    draining       INTEGER NOT NULL CHECK (draining IN (0, 1)),
    reason         TEXT    NOT NULL,
    cordoned_by    TEXT    NOT NULL,
    cordoned_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which programs this schema serves: those whose own newest migration is at least this. A migration that older programs cannot work
-- with raises it; one that only adds leaves it, so that nodes of two versions work side by side during a rolling upgrade.
CREATE TABLE dg_schema (serves_from INTEGER NOT NULL) STRICT;
INSERT INTO dg_schema (serves_from) VALUES (9);
