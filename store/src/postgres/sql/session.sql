-- Of a session that writes: its backend, and the history of its server in the words of log_end.sql. Asked once: a server that starts
-- anew ends its sessions, and one that was promoted had none that could write.
SELECT pg_catalog.pg_backend_pid(),
       (SELECT system_identifier FROM pg_catalog.pg_control_system())::text || '/' ||
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby'
            ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END || '/' ||
       pg_catalog.pg_postmaster_start_time()::text || '/' ||
       coalesce(pg_catalog.pg_stat_get_bgwriter_stat_reset_time()::text, '') || '/' ||
       (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())::text
