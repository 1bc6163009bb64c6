-- A statement of its own, after the commit of the append: see wake.rs.
NOTIFY dg_event_log
