-- Waits up to five seconds for its end: until then it may hold the rows that the new owner needs.
SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a WHERE a.pid = $1 AND a.backend_start = $2::text::timestamptz
