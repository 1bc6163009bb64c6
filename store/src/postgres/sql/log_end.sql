-- What the mark rests on, and the identity of this history: system, timeline, start of the server, database. (A crash restarts every
-- session but not always the postmaster; sessions then are lost, which the reader sees by itself.) Only functions that any role
-- may call. And where the sequence stands: not transactional, it says what was drawn, committed or not. The locks are asked for later, in a
-- statement of their own.
SELECT pg_is_in_recovery(),
       (SELECT s.seqcache FROM pg_sequence s WHERE s.seqrelid = pg_get_serial_sequence('dg_event_log', 'log_seq')::regclass),
       (SELECT a.attidentity::text FROM pg_attribute a WHERE a.attrelid = 'dg_event_log'::regclass AND a.attname = 'log_seq'),
       concat_ws('/',
                 (SELECT system_identifier FROM pg_control_system()),
                 CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
                 (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
                 (SELECT oid FROM pg_database WHERE datname = current_database())),
       last_value, is_called
  FROM dg_event_log_log_seq_seq
