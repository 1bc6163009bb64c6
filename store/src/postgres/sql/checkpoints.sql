-- Newest first.
SELECT cursor_seq, generation, digest, version, previous, hash,
       to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM dg_digest_checkpoint
 WHERE tenant_id = $1 AND projection = $2
 ORDER BY checkpoint_id DESC
 LIMIT $3
