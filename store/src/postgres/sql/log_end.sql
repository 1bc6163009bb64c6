-- The conditions that the mark rests on, the identity of this history, and the end of the sequence. Only functions that any role may call.
-- The identity: system, timeline, start of the server, start of its statistics, database. When one backend dies, the postmaster starts
-- all others anew and keeps its own start time; positions that were drawn and not yet written are then drawn again. The server discards
-- its statistics at every such start ("Viewing Statistics" in the manual of PostgreSQL), so their start tells these histories apart.
-- (An administrator who resets them makes readers prove the mark again, nothing else.)
-- The sequence is not transactional: it says what was drawn, committed or not. The locks are asked for later, in a statement of their own.
SELECT pg_catalog.pg_is_in_recovery(),
       (SELECT s.seqcache FROM pg_catalog.pg_sequence s
         WHERE s.seqrelid = pg_catalog.pg_get_serial_sequence('dg_event_log', 'log_seq')::regclass::oid),
       (SELECT a.attidentity::text FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = 'dg_event_log'::regclass::oid AND a.attname = 'log_seq'),
       (SELECT system_identifier FROM pg_catalog.pg_control_system())::text || '/' ||
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby'
            ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END || '/' ||
       pg_catalog.pg_postmaster_start_time()::text || '/' ||
       coalesce(pg_catalog.pg_stat_get_bgwriter_stat_reset_time()::text, '') || '/' ||
       (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())::text,
       last_value, is_called
  FROM dg_event_log_log_seq_seq
