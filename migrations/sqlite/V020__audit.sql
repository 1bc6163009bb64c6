-- What operators asked for and what came of it, as two rows of one number: `asked` before a change is begun, `ended` after it. A number
-- without its `ended` says that its process died in between, or is still at it: then `process` has a lease in dg_node. Rows are added and
-- read; none is ever changed or deleted. (The table before had one row a change, whose outcome was filled in. Programs that write that
-- one cannot record a change any more, and so carry none out; everything else they do as before.)
CREATE TABLE dg_audit (
    audit_id     INTEGER NOT NULL,
    phase        TEXT    NOT NULL,
    at_ms        INTEGER,
    request_id   TEXT,
    identity     TEXT,
    token_id     TEXT,
    on_behalf_of TEXT,
    peer         TEXT,
    door         TEXT,
    tenant       TEXT,
    action       TEXT,
    projection   TEXT,
    target       TEXT,
    run_id       BLOB,
    reason       TEXT,
    through      TEXT,
    process      BLOB,
    outcome      TEXT,
    code         TEXT,
    message      TEXT,
    PRIMARY KEY (audit_id, phase),
    CHECK (
        phase = 'asked' AND at_ms IS NOT NULL AND identity IS NOT NULL AND action IS NOT NULL AND outcome IS NULL
     OR phase = 'ended' AND outcome IS NOT NULL AND outcome IN ('accepted', 'refused', 'failed'))
) STRICT, WITHOUT ROWID;
INSERT INTO dg_audit (audit_id, phase, at_ms, identity, tenant, action, projection, target, reason, through)
SELECT change_id, 'asked', asked_at_ms, asked_by, tenant_id, what, projection, subject, reason, through FROM dg_change;
-- When these ended was not recorded.
INSERT INTO dg_audit (audit_id, phase, outcome, code, message)
SELECT change_id, 'ended',
       CASE WHEN outcome IN ('done', 'begun') THEN 'accepted'
            WHEN substr(outcome, 1, instr(outcome, ': ') - 1) IN ('storage', 'unavailable', 'fenced', 'outcome_unknown', 'internal')
            THEN 'failed'
            ELSE 'refused' END,
       CASE WHEN instr(outcome, ': ') > 0 THEN substr(outcome, 1, instr(outcome, ': ') - 1) END,
       CASE WHEN instr(outcome, ': ') > 0 THEN substr(outcome, instr(outcome, ': ') + 2) ELSE outcome END
FROM dg_change
WHERE outcome IS NOT NULL;
DROP TABLE dg_change;
