-- Poison events: failures, and the operators' skips.

-- name: columns
SELECT failure_id, tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to,
       digest_before, attempts,
       to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_failure

-- name: one
{columns}
 WHERE failure_id = $1

-- name: lock
-- A commit that passes the event resolves the failure in its own transaction: one of the two waits for the other.
{one}
   FOR UPDATE

-- name: list
-- Newest first.
{columns}
 WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR projection = $2) AND (NOT $3 OR resolved_at IS NULL)
   AND ($5::bigint IS NULL OR failure_id < $5)
 ORDER BY failure_id DESC
 LIMIT $4

-- name: open_by_scope
-- Per scope the number of its open failures and the first of them, all in one pass over the index of the open ones.
SELECT DISTINCT ON (tenant_id, projection)
       tenant_id, projection, count(*) OVER (PARTITION BY tenant_id, projection), failure_id, log_seq, event_id, category
  FROM dg_failure
 WHERE resolved_at IS NULL AND ($1::text IS NULL OR tenant_id = $1)
 ORDER BY tenant_id, projection, log_seq

-- name: record
-- One open row per (scope, event); another encounter counts an attempt.
INSERT INTO dg_failure
       (tenant_id, projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to, digest_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (tenant_id, projection, log_seq) WHERE resolved_at IS NULL
DO UPDATE SET attempts = dg_failure.attempts + 1, last_seen_at = clock_timestamp(),
              batch_from = excluded.batch_from, batch_to = excluded.batch_to,
              category = excluded.category, message = excluded.message, digest_before = excluded.digest_before
RETURNING failure_id

-- name: resolve
UPDATE dg_failure SET resolved_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2 AND resolved_at IS NULL AND log_seq <= $3

-- name: skip_list
tenant_id, projection, log_seq, event_id, trace_id, reason, skipped_by,
to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), failure_id,
to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), skip_id

-- name: skip_of_event
SELECT {skip_list}
  FROM dg_skip
 WHERE tenant_id = $1 AND projection = $2 AND log_seq = $3 AND revoked_at IS NULL

-- name: skips
-- Skips that hold, in the order of the log: their index is partial.
SELECT {skip_list}
  FROM dg_skip
 WHERE tenant_id = $1 AND projection = $2 AND revoked_at IS NULL
 ORDER BY log_seq

-- name: all_skips
-- Newest first.
SELECT {skip_list}
  FROM dg_skip
 WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR projection = $2) AND (NOT $3 OR revoked_at IS NULL)
   AND ($5::bigint IS NULL OR skip_id < $5)
 ORDER BY skip_id DESC
 LIMIT $4

-- name: add_skip
-- From the failure that it answers.
INSERT INTO dg_skip (tenant_id, projection, log_seq, failure_id, event_id, trace_id, reason, skipped_by)
SELECT tenant_id, projection, log_seq, failure_id, event_id, trace_id, $2, $3 FROM dg_failure WHERE failure_id = $1
RETURNING {skip_list}

-- name: revoke_skip
UPDATE dg_skip SET revoked_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2 AND log_seq = $3 AND revoked_at IS NULL
RETURNING {skip_list}
