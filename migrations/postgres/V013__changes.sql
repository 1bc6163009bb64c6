-- What operators asked for: who, when, why, through which process, and what came of it. Written before the change is carried out; only the
-- outcome is filled in later. Nothing is deleted here.
CREATE TABLE dg_change (
    change_id  bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    what       text        COLLATE "C" NOT NULL,
    tenant_id  text        COLLATE "C",
    projection text        COLLATE "C",
    subject    text        COLLATE "C",
    asked_by   text        COLLATE "C" NOT NULL,
    through    text        COLLATE "C" NOT NULL,
    reason     text        COLLATE "C" NOT NULL,
    outcome    text        COLLATE "C"
);
