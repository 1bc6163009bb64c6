-- The sealed log (ADR 21): each event of a tenant is a leaf of a Merkle tree. Tables are added and nothing else, so serves_from stays:
-- programs from before read and write as they did, and leave the scope `seal` alone.
--
-- Rows are inserted and never updated, but for dg_seal: one row per tree, which each batch moves, under the fence of the scope `seal`.
-- Room for new versions of that row on its page: no index covers what a batch changes.
CREATE TABLE dg_seal (
    tenant_id    text        COLLATE "C" NOT NULL,
    tree         bigint      NOT NULL,
    size         bigint      NOT NULL,
    -- Position of the last sealed event.
    log_seq      bigint      NOT NULL,
    sealed_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    origin       text        COLLATE "C" NOT NULL,
    state        text        COLLATE "C" NOT NULL,
    root         bytea       NOT NULL,
    -- Roots of the perfect subtrees of this size, largest first, 32 bytes each: all that the next batch needs of the past.
    frontier     bytea       NOT NULL,
    CONSTRAINT dg_seal_pkey PRIMARY KEY (tenant_id, tree),
    CONSTRAINT dg_seal_tenant CHECK (octet_length(tenant_id) BETWEEN 1 AND 200),
    CONSTRAINT dg_seal_head CHECK (size >= 0 AND octet_length(root) = 32 AND octet_length(frontier) % 32 = 0)
) WITH (fillfactor = 50);

-- Leaves in groups of 1 to 256, which do not cross a multiple of 256: per event its position (8 bytes), its entry (64) and its salts (32).
-- Source data: without salts no event can be checked. Random bytes do not compress.
CREATE TABLE dg_seal_chunk (
    tenant_id     text   COLLATE "C" NOT NULL,
    tree          bigint NOT NULL,
    first_index   bigint NOT NULL,
    events        bigint NOT NULL,
    first_log_seq bigint NOT NULL,
    last_log_seq  bigint NOT NULL,
    positions     bytea  NOT NULL,
    entries       bytea  NOT NULL,
    salts         bytea  NOT NULL,
    CONSTRAINT dg_seal_chunk_pkey PRIMARY KEY (tenant_id, tree, first_index),
    CONSTRAINT dg_seal_chunk_tenant CHECK (octet_length(tenant_id) BETWEEN 1 AND 200)
);
ALTER TABLE dg_seal_chunk ALTER COLUMN positions SET STORAGE EXTERNAL, ALTER COLUMN entries SET STORAGE EXTERNAL,
    ALTER COLUMN salts SET STORAGE EXTERNAL;
-- The leaf of an event, by its position in the log.
CREATE INDEX dg_seal_chunk_position ON dg_seal_chunk (tenant_id, tree, first_log_seq);

-- Roots of full subtrees of 256, 256 × 256, … leaves, by level and number: a proof reads few of them. Derived from the chunks.
CREATE TABLE dg_seal_node (
    tenant_id  text   COLLATE "C" NOT NULL,
    tree       bigint NOT NULL,
    level      bigint NOT NULL,
    node_index bigint NOT NULL,
    hash       bytea  NOT NULL,
    CONSTRAINT dg_seal_node_pkey PRIMARY KEY (tenant_id, tree, level, node_index),
    CONSTRAINT dg_seal_node_tenant CHECK (octet_length(tenant_id) BETWEEN 1 AND 200)
);

-- Signed notes. The same note is stored once: note_key is the hash of its text.
CREATE TABLE dg_seal_note (
    tenant_id text        COLLATE "C" NOT NULL,
    tree      bigint      NOT NULL,
    number    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    size      bigint      NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note_key  uuid        NOT NULL,
    kind      text        COLLATE "C" NOT NULL,
    note      text        COLLATE "C" NOT NULL,
    CONSTRAINT dg_seal_note_pkey PRIMARY KEY (tenant_id, tree, number),
    CONSTRAINT dg_seal_note_tenant CHECK (octet_length(tenant_id) BETWEEN 1 AND 200)
);
-- Also the largest checkpoint of a tree.
CREATE UNIQUE INDEX dg_seal_note_once ON dg_seal_note (tenant_id, tree, kind, size, note_key);
