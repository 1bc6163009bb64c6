-- Generations: begun, filled, flipped to, removed.

-- name: begin
INSERT INTO dg_generation
       (tenant_id, generation, projection, state, run_id, epoch, epoch_token, cursor_seq, digest, version, writer_pid, writer_started)
VALUES ($1, $2, $3, 'building', $4, 1, $5, 0, '', $6, pg_backend_pid(),
        (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()))

-- name: number
SELECT nextval($1::text::regclass)

-- name: abandon
UPDATE dg_generation SET state = 'retired', retired_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2 AND run_id = $3 AND state = 'building'

-- name: resume_look
-- The run's unfinished generation, and the backend that wrote it if it is still there.
SELECT g.generation, a.pid, g.writer_started::text
  FROM dg_generation g
  LEFT JOIN pg_stat_activity a ON a.pid = g.writer_pid AND a.backend_start = g.writer_started
 WHERE g.tenant_id = $1 AND g.projection = $2 AND g.run_id = $3 AND g.state = 'building'

-- name: resume_take
-- A new fence on an unfinished generation: a batch of its former writer is refused from here on.
UPDATE dg_generation g
   SET epoch = g.epoch + 1, epoch_token = $3, writer_pid = pg_backend_pid(),
       writer_started = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid())
 WHERE g.tenant_id = $1 AND g.generation = $2 AND g.state = 'building'
RETURNING g.epoch, g.generation, g.cursor_seq, g.digest, g.version

-- name: mine
WHERE tenant_id = $1 AND generation = $2 AND state = 'building' AND epoch = $3 AND epoch_token = $4

-- name: holds
SELECT true FROM dg_generation
 {mine}

-- name: lock
SELECT cursor_seq, digest, version, ready, deviating FROM dg_generation
 {mine}
   FOR UPDATE

-- name: ready
UPDATE dg_generation SET ready = true
 {mine}

-- name: secondary_indexes
-- The part behind the table's name in the definitions of a partitioned table's own secondary indexes: USING … and so on.
SELECT row_number() OVER (ORDER BY c.relname),
       substr(pg_get_indexdef(i.indexrelid), strpos(pg_get_indexdef(i.indexrelid), ' USING ') + 1)
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = $1::text::regclass AND NOT i.indisprimary

-- name: table_size
SELECT pg_relation_size($1::text::regclass)

-- name: partition_state
-- True when a generation's own table is attached; true when it has its primary key.
SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = $1::text::regclass),
       EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p')

-- name: flip_scope
SELECT generation, cursor_seq, digest, version FROM dg_scope WHERE tenant_id = $1 AND projection = $2 FOR UPDATE

-- name: flip_behind
-- True when the log holds an event of the tenant between a build's cursor and the live one. By the index of positions.
SELECT EXISTS (SELECT 1 FROM dg_event_log WHERE tenant_id = $1 AND log_seq > $2 AND log_seq <= $3)

-- name: flip_retire
UPDATE dg_generation SET state = 'retired', retired_at = clock_timestamp() WHERE tenant_id = $1 AND generation = $2

-- name: flip_promote
UPDATE dg_generation SET state = 'live' WHERE tenant_id = $1 AND generation = $2

-- name: flip_set_live
-- A new epoch without a new owner: a batch that the live worker prepared for the old generation is fenced.
UPDATE dg_scope
   SET generation = $3, cursor_seq = $4, digest = $5, version = $6, deviating = $7, epoch = epoch + 1, epoch_token = gen_random_uuid(),
       updated_at = clock_timestamp()
 WHERE tenant_id = $1 AND projection = $2

-- name: sweep_retired
-- Oldest first.
SELECT generation, tenant_id, projection, readers FROM dg_generation WHERE state = 'retired' ORDER BY retired_at, generation

-- name: sweep_open_transactions
-- Every open transaction holds a lock on its own virtual id, read-only ones included, and every role may see it. Those of other
-- databases cannot read these tables, and that of the turn ($1) reads nothing.
SELECT l.virtualtransaction
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid NOT IN (pg_backend_pid(), $1)
   AND (a.datid IS NULL OR a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()))

-- name: sweep_note_readers
UPDATE dg_generation SET readers = $3 WHERE tenant_id = $1 AND generation = $2 AND readers IS NULL

-- name: sweep_partition
-- The state of a generation's table: attached (null: it is not), or its detachment was interrupted; and its approximate rows.
SELECT i.inhdetachpending, greatest(c.reltuples, 0)::bigint
  FROM pg_class c
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
 WHERE c.oid = to_regclass($1::text)

-- name: sweep_forget
DELETE FROM dg_generation WHERE tenant_id = $1 AND generation = $2 AND state = 'retired'
