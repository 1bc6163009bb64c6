-- What operators asked for: who, when, why, through which process, and what came of it. Written before the change is carried out; only the
-- outcome is filled in later. Nothing is deleted here.
CREATE TABLE dg_change (
    change_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    asked_at_ms INTEGER NOT NULL,
    what        TEXT    NOT NULL,
    tenant_id   TEXT,
    projection  TEXT,
    subject     TEXT,
    asked_by    TEXT    NOT NULL,
    through     TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    outcome     TEXT
) STRICT;
