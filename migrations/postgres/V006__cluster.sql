-- Membership: what a node says of itself with its heartbeat. A process that only runs a command has a heartbeat too, but no protocol:
-- it owns scopes while it works, and no tenants are placed on it.
ALTER TABLE dg_node
    ADD COLUMN address   text COLLATE "C",
    ADD COLUMN program   text COLLATE "C",
    ADD COLUMN protocol  integer,
    ADD COLUMN joined_at timestamptz NOT NULL DEFAULT clock_timestamp();

-- Nodes that take no tenants until somebody says otherwise: by name, so that a restart of the node changes nothing.
CREATE TABLE dg_cordon (
    node        text        COLLATE "C" NOT NULL PRIMARY KEY,
    -- Gives away those that it has, too.
    draining    boolean     NOT NULL,
    reason      text        COLLATE "C" NOT NULL,
    cordoned_by text        COLLATE "C" NOT NULL,
    cordoned_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which programs this schema serves: those whose own newest migration is at least this. A migration that older programs cannot work
-- with raises it; one that only adds leaves it, so that nodes of two versions work side by side during a rolling upgrade.
CREATE TABLE dg_schema (serves_from bigint NOT NULL);
INSERT INTO dg_schema (serves_from) VALUES (6);
