-- Of a session that writes: its backend, and the history of its server, told in the same words as high_water_conditions.sql does. Asked
-- once: a server that restarts ends its sessions, and one that was promoted had none that could write.
SELECT pg_backend_pid(),
       concat_ws('/',
                 (SELECT system_identifier FROM pg_control_system()),
                 CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
                 (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
                 (SELECT oid FROM pg_database WHERE datname = current_database()))
