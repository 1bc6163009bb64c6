-- The starts of a tenant's traces, by position: the list of traces. A start is event 0 of its trace, so one event in many has an entry.
CREATE INDEX dg_event_log_start ON dg_event_log (tenant_id, log_seq) WHERE trace_seq = 0;
