-- Poison events that somebody decided to leave out of a projection: who, why, because of which failure. Nothing is deleted here; a
-- revoked skip stays as history.
CREATE TABLE dg_skip (
    tenant_id  text        COLLATE "C" NOT NULL,
    skip_id    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    projection text        COLLATE "C" NOT NULL,
    log_seq    bigint      NOT NULL,
    failure_id bigint      NOT NULL,
    event_id   text        COLLATE "C" NOT NULL,
    trace_id   text        COLLATE "C" NOT NULL,
    reason     text        COLLATE "C" NOT NULL,
    skipped_by text        COLLATE "C" NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, skip_id)
);
-- The skips that hold, in the order of the log; one an event.
CREATE UNIQUE INDEX dg_skip_active ON dg_skip (tenant_id, projection, log_seq) WHERE revoked_at IS NULL;

-- Whether rows were written past a skipped event: a property of the generation. A build's is on its own row, the live one's on its
-- scope, like cursor and digest; a flip carries it over.
ALTER TABLE dg_generation ADD COLUMN deviating boolean NOT NULL DEFAULT false;
ALTER TABLE dg_scope ADD COLUMN deviating boolean NOT NULL DEFAULT false;
