-- The sealed log (ADR 21): each event of a tenant is a leaf of a Merkle tree. Tables are added and nothing else, so serves_from stays:
-- programs from before read and write as they did, and leave the scope `seal` alone.
--
-- Rows are inserted and never updated, but for dg_seal: one row per tree, which each batch moves, under the fence of the scope `seal`.
CREATE TABLE dg_seal (
    tenant_id       TEXT    NOT NULL,
    tree            INTEGER NOT NULL,
    origin          TEXT    NOT NULL,
    size            INTEGER NOT NULL CHECK (size >= 0),
    -- Position of the last sealed event.
    log_seq         INTEGER NOT NULL,
    root            BLOB    NOT NULL CHECK (octet_length(root) = 32),
    -- Roots of the perfect subtrees of this size, largest first, 32 bytes each: all that the next batch needs of the past.
    frontier        BLOB    NOT NULL CHECK (octet_length(frontier) % 32 = 0),
    state           TEXT    NOT NULL,
    sealed_since_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, tree)
) STRICT, WITHOUT ROWID;

-- Leaves in groups of 1 to 256, which do not cross a multiple of 256: per event its position (8 bytes), its entry (64) and its salts (32).
-- Source data: without salts no event can be checked. The long columns are last.
CREATE TABLE dg_seal_chunk (
    tenant_id     TEXT    NOT NULL,
    tree          INTEGER NOT NULL,
    first_index   INTEGER NOT NULL,
    events        INTEGER NOT NULL,
    first_log_seq INTEGER NOT NULL,
    last_log_seq  INTEGER NOT NULL,
    positions     BLOB    NOT NULL,
    entries       BLOB    NOT NULL,
    salts         BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX dg_seal_chunk_leaf ON dg_seal_chunk (tenant_id, tree, first_index);
-- The leaf of an event, by its position in the log.
CREATE INDEX dg_seal_chunk_position ON dg_seal_chunk (tenant_id, tree, first_log_seq);

-- Roots of full subtrees of 256, 256 × 256, … leaves, by level and number: a proof reads few of them. Derived from the chunks.
CREATE TABLE dg_seal_node (
    tenant_id  TEXT    NOT NULL,
    tree       INTEGER NOT NULL,
    level      INTEGER NOT NULL,
    node_index INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, tree, level, node_index)
) STRICT, WITHOUT ROWID;

-- Signed notes. The same note is stored once: note_key is the hash of its text.
CREATE TABLE dg_seal_note (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id    TEXT    NOT NULL,
    tree         INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    note_key     BLOB    NOT NULL,
    note         TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX dg_seal_note_latest ON dg_seal_note (tenant_id, tree, number);
-- Also the largest checkpoint of a tree.
CREATE UNIQUE INDEX dg_seal_note_once ON dg_seal_note (tenant_id, tree, kind, size, note_key);
