-- Read before the locks, in a statement of its own. Not transactional: it says what was drawn, committed or not.
SELECT last_value, is_called FROM dg_event_log_log_seq_seq
