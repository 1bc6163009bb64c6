-- Whether an event id is taken.
SELECT event_id FROM dg_event_log WHERE tenant_id = ?1 AND event_key = ?2
