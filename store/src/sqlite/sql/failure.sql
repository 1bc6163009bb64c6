-- Poison events: failures, and the operators' skips.

-- name: now
CAST(unixepoch('subsec') * 1000 AS INTEGER)

-- name: columns
SELECT failure_id, tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to,
       digest_before, attempts,
       strftime('%Y-%m-%dT%H:%M:%fZ', first_seen_at_ms / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', last_seen_at_ms / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', resolved_at_ms / 1000.0, 'unixepoch')
FROM dg_failure

-- name: one
{columns}
WHERE failure_id = ?1

-- name: lock
-- The writer's lock is held already.
{one}

-- name: list
-- Newest first.
{columns}
WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR projection = ?2) AND (NOT ?3 OR resolved_at_ms IS NULL)
  AND (?5 IS NULL OR failure_id < ?5)
ORDER BY failure_id DESC
LIMIT ?4

-- name: open_by_scope
-- Per scope the number of its open failures and the first of them, all in one pass over the index of the open ones. (Beside a min, SQLite
-- takes the other columns from the row that has it.)
SELECT tenant_id, projection, count(*), failure_id, min(log_seq), event_id, category
FROM dg_failure INDEXED BY dg_failure_open
WHERE resolved_at_ms IS NULL AND (?1 IS NULL OR tenant_id = ?1)
GROUP BY tenant_id, projection

-- name: record
-- One open row per (scope, event), by the partial unique index; another encounter counts an attempt.
INSERT INTO dg_failure (
    tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to,
    digest_before, attempts, first_seen_at_ms, last_seen_at_ms
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1, {now}, {now})
ON CONFLICT (tenant_id, projection, log_seq) WHERE resolved_at_ms IS NULL DO UPDATE SET
    attempts = attempts + 1,
    last_seen_at_ms = excluded.last_seen_at_ms,
    category = excluded.category,
    message = excluded.message,
    batch_from = excluded.batch_from,
    batch_to = excluded.batch_to,
    digest_before = excluded.digest_before
RETURNING failure_id

-- name: resolve
UPDATE dg_failure SET resolved_at_ms = {now}
WHERE tenant_id = ?1 AND projection = ?2 AND log_seq <= ?3 AND resolved_at_ms IS NULL

-- name: skip_list
tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
strftime('%Y-%m-%dT%H:%M:%fZ', skipped_at_ms / 1000.0, 'unixepoch'), failure_id,
strftime('%Y-%m-%dT%H:%M:%fZ', revoked_at_ms / 1000.0, 'unixepoch'), skip_id

-- name: skip_of_event
SELECT {skip_list}
FROM dg_skip
WHERE tenant_id = ?1 AND projection = ?2 AND log_seq = ?3 AND revoked_at_ms IS NULL

-- name: skips
-- Skips that hold, in the order of the log: their index is partial.
SELECT {skip_list}
FROM dg_skip INDEXED BY dg_skip_active
WHERE tenant_id = ?1 AND projection = ?2 AND revoked_at_ms IS NULL
ORDER BY log_seq

-- name: all_skips
-- Newest first.
SELECT {skip_list}
FROM dg_skip
WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR projection = ?2) AND (NOT ?3 OR revoked_at_ms IS NULL)
  AND (?5 IS NULL OR skip_id < ?5)
ORDER BY skip_id DESC
LIMIT ?4

-- name: add_skip
-- From the failure that it answers.
INSERT INTO dg_skip (tenant_id, projection, log_seq, failure_id, event_id, trace_id, reason, skipped_by, skipped_at_ms)
SELECT tenant_id, projection, log_seq, failure_id, event_id, trace_id, ?2, ?3, {now} FROM dg_failure WHERE failure_id = ?1
RETURNING {skip_list}

-- name: revoke_skip
UPDATE dg_skip SET revoked_at_ms = {now}
WHERE tenant_id = ?1 AND projection = ?2 AND log_seq = ?3 AND revoked_at_ms IS NULL
RETURNING {skip_list}
