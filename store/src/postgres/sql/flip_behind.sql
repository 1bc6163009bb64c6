-- True when the log holds an event of the tenant between a build's cursor and the live one. By the index of positions.
SELECT EXISTS (SELECT 1 FROM dg_event_log WHERE tenant_id = $1 AND log_seq > $2 AND log_seq <= $3)
