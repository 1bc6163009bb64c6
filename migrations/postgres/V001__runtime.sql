-- The schema of the runtime on PostgreSQL (14 and newer).
--
-- Invariants that the rest of the program leans on:
--   * Every key starts with the tenant. (Two exceptions: look-ups by log_seq over all tenants, and by a run's or failure's id.)
--   * Text is ordered by its bytes, COLLATE "C", whatever the database's collation.
--   * Ids are unbounded, B-tree keys are not (about 2,700 bytes): an identity is the 128-bit hash of the canonical text, the text
--     stands beside it and is compared when a row is looked up. Hashes are stored as uuid: 16 bytes, no header, ordered by bytes.
--   * log_seq is drawn by the INSERT itself, without a cache: the high-water mark needs both (see GENERATED ALWAYS, CACHE 1).
--   * Rows of a projection carry a generation. Small generations share a partition, large ones own theirs.
-- Names: dg_ before every table, sequence and function; functions named dg_VERB_NOUN belong to the commit protocol.

-- ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE dg_event_log (
    log_seq            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 1),
    trace_seq          bigint      NOT NULL,
    schema_version     bigint      NOT NULL,
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    event_key          uuid        NOT NULL,
    trace_key          uuid        NOT NULL,
    idempotency_uid    uuid        NOT NULL,
    tenant_id          text        COLLATE "C" NOT NULL,
    event_id           text        COLLATE "C" NOT NULL,
    trace_id           text        COLLATE "C" NOT NULL,
    event_type         text        COLLATE "C" NOT NULL,
    occurred_at        text        COLLATE "C" NOT NULL,
    producer_id        text        COLLATE "C" NOT NULL,
    source_system      text        COLLATE "C" NOT NULL,
    source_subsystem   text        COLLATE "C",
    actor_type         text        COLLATE "C" NOT NULL,
    actor_id           text        COLLATE "C" NOT NULL,
    idempotency_key    text        COLLATE "C" NOT NULL,
    correlation_id     text        COLLATE "C",
    causation_event_id text        COLLATE "C",
    -- A JSON list of strings.
    tags               text        COLLATE "C" NOT NULL,
    payload_hash       text        COLLATE "C" NOT NULL,
    -- The canonical text. Not jsonb: that reorders keys, and the hash is over these very bytes.
    payload            text        COLLATE "C" NOT NULL,
    CONSTRAINT dg_event_log_pkey PRIMARY KEY (tenant_id, log_seq),
    CONSTRAINT dg_event_log_event_unique UNIQUE (tenant_id, event_key),
    CONSTRAINT dg_event_log_idempotency_unique UNIQUE (tenant_id, idempotency_uid),
    CONSTRAINT dg_event_log_trace_seq_unique UNIQUE (tenant_id, trace_key, trace_seq)
);
-- The latest event of a trace at or below a position: the sequence check of a replay.
CREATE INDEX dg_event_log_trace ON dg_event_log (tenant_id, trace_key, log_seq);
-- Which tenants have events in a range of the log; also: a position is unique in the database.
CREATE UNIQUE INDEX dg_event_log_position ON dg_event_log (log_seq);

-- ── ownership ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- A process that says it is alive. The database's clock decides whether it is.
CREATE TABLE dg_node (
    node        text        COLLATE "C" NOT NULL PRIMARY KEY,
    incarnation uuid        NOT NULL,
    expires_at  timestamptz NOT NULL
);

-- One row a scope: takeover, flip and commit all update it, so they cannot interleave. Room for new versions of the row on its
-- page (an update then needs no index entry); the 2 KB digest stays in the row.
CREATE TABLE dg_scope (
    tenant_id         text        COLLATE "C" NOT NULL,
    projection        text        COLLATE "C" NOT NULL,
    owner_node        text        COLLATE "C",
    owner_incarnation uuid,
    epoch             bigint      NOT NULL,
    epoch_token       uuid        NOT NULL,
    generation        bigint      NOT NULL,
    cursor_seq        bigint      NOT NULL,
    digest            bytea       NOT NULL,
    version           integer     NOT NULL,
    -- The backend that writes under the epoch: a new owner ends it if it is still there.
    writer_pid        integer,
    writer_started    timestamptz,
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, projection)
) WITH (fillfactor = 30);
ALTER TABLE dg_scope ALTER COLUMN digest SET STORAGE PLAIN;

-- Numbers of generations that share a partition, and of those that own one: the number says where the rows are.
CREATE SEQUENCE dg_generation_shared_seq AS bigint MINVALUE 1 MAXVALUE 1099511627775;
CREATE SEQUENCE dg_generation_own_seq AS bigint MINVALUE 1099511627776;

CREATE TABLE dg_generation (
    tenant_id      text        COLLATE "C" NOT NULL,
    generation     bigint      NOT NULL,
    projection     text        COLLATE "C" NOT NULL,
    state          text        COLLATE "C" NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    -- Of a generation under construction: by which run, its fence, how far it is, whether it is ready to be read.
    run_id         uuid,
    epoch          bigint      NOT NULL,
    epoch_token    uuid        NOT NULL,
    cursor_seq     bigint      NOT NULL,
    digest         bytea       NOT NULL,
    version        integer     NOT NULL,
    ready          boolean     NOT NULL DEFAULT false,
    writer_pid     integer,
    writer_started timestamptz,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at     timestamptz,
    -- Virtual transactions that were open when a sweep first saw it retired: they may still read it.
    readers        text[],
    PRIMARY KEY (tenant_id, generation)
) WITH (fillfactor = 30);
ALTER TABLE dg_generation ALTER COLUMN digest SET STORAGE PLAIN;
CREATE UNIQUE INDEX dg_generation_building ON dg_generation (tenant_id, projection, run_id) WHERE state = 'building';
CREATE INDEX dg_generation_retired ON dg_generation (tenant_id, generation) WHERE state = 'retired';

CREATE TABLE dg_digest_checkpoint (
    tenant_id     text        COLLATE "C" NOT NULL,
    projection    text        COLLATE "C" NOT NULL,
    checkpoint_id bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    generation    bigint      NOT NULL,
    cursor_seq    bigint      NOT NULL,
    version       integer     NOT NULL,
    digest        text        COLLATE "C" NOT NULL,
    previous      text        COLLATE "C" NOT NULL,
    hash          text        COLLATE "C" NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, projection, checkpoint_id)
);

-- ── failures and runs ───────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE dg_failure (
    tenant_id     text        COLLATE "C" NOT NULL,
    failure_id    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    projection    text        COLLATE "C" NOT NULL,
    log_seq       bigint      NOT NULL,
    batch_from    bigint      NOT NULL,
    batch_to      bigint      NOT NULL,
    attempts      bigint      NOT NULL DEFAULT 1,
    event_id      text        COLLATE "C" NOT NULL,
    trace_id      text        COLLATE "C" NOT NULL,
    event_type    text        COLLATE "C" NOT NULL,
    category      text        COLLATE "C" NOT NULL,
    message       text        COLLATE "C" NOT NULL,
    digest_before text        COLLATE "C" NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at   timestamptz,
    PRIMARY KEY (tenant_id, failure_id)
);
-- One open row an event; a retry counts, it does not add.
CREATE UNIQUE INDEX dg_failure_open ON dg_failure (tenant_id, projection, log_seq) WHERE resolved_at IS NULL;
CREATE UNIQUE INDEX dg_failure_id ON dg_failure (failure_id);

CREATE TABLE dg_run (
    tenant_id         text        COLLATE "C" NOT NULL,
    run_id            uuid        NOT NULL,
    -- 'all' or a name; the list says which.
    projection        text        COLLATE "C" NOT NULL,
    projections       text[]      COLLATE "C" NOT NULL,
    mode              text        COLLATE "C" NOT NULL,
    state             text        COLLATE "C" NOT NULL,
    node              text        COLLATE "C" NOT NULL,
    incarnation       uuid        NOT NULL,
    until_seq         bigint,
    current_projection text       COLLATE "C",
    cursor_seq        bigint      NOT NULL DEFAULT 0,
    target_seq        bigint      NOT NULL DEFAULT 0,
    events            bigint      NOT NULL DEFAULT 0,
    cancel_requested  boolean     NOT NULL DEFAULT false,
    error_category    text        COLLATE "C",
    error_message     text        COLLATE "C",
    report            text        COLLATE "C",
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz,
    PRIMARY KEY (tenant_id, run_id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX dg_run_id ON dg_run (run_id);
CREATE INDEX dg_run_created ON dg_run (created_at, run_id);

-- Which job holds a scope. A job for `all` holds each one.
CREATE TABLE dg_run_claim (
    tenant_id  text COLLATE "C" NOT NULL,
    projection text COLLATE "C" NOT NULL,
    run_id     uuid NOT NULL,
    PRIMARY KEY (tenant_id, projection)
);
CREATE INDEX dg_run_claim_run ON dg_run_claim (run_id);

-- ── the commit protocol ─────────────────────────────────────────────────────────────────────────────────────────────────

-- The last statement of a batch. It raises, and so aborts the transaction on the server, when the scope is not what the batch was
-- computed at: a count that the client looks at would come too late. Under READ COMMITTED the UPDATE waits for a takeover or flip that
-- is under way and then sees what it wrote.
CREATE FUNCTION dg_commit_scope(
    p_tenant_id text, p_projection text, p_from bigint, p_to bigint, p_epoch bigint, p_token uuid, p_generation bigint,
    p_digest bytea, p_version integer
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dg_failure SET resolved_at = clock_timestamp()
     WHERE tenant_id = p_tenant_id AND projection = p_projection AND resolved_at IS NULL AND log_seq <= p_to;
    UPDATE dg_scope
       SET cursor_seq = p_to, digest = p_digest, version = p_version, updated_at = clock_timestamp()
     WHERE tenant_id = p_tenant_id AND projection = p_projection
       AND cursor_seq = p_from AND epoch = p_epoch AND epoch_token = p_token AND generation = p_generation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the scope is not at cursor %, epoch %, generation % any more', p_from, p_epoch, p_generation
              USING ERRCODE = 'DG001';
    END IF;
END
$$;

-- The same for a generation under construction.
CREATE FUNCTION dg_commit_build(
    p_tenant_id text, p_generation bigint, p_from bigint, p_to bigint, p_epoch bigint, p_token uuid, p_digest bytea, p_version integer
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dg_generation
       SET cursor_seq = p_to, digest = p_digest, version = p_version
     WHERE tenant_id = p_tenant_id AND generation = p_generation AND state = 'building'
       AND cursor_seq = p_from AND epoch = p_epoch AND epoch_token = p_token;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'generation % is not being built at cursor %, epoch % any more', p_generation, p_from, p_epoch
              USING ERRCODE = 'DG001';
    END IF;
END
$$;
