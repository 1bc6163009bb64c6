-- The last position that was ever drawn, and which history it is of. One writer: nothing below it can still appear.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'dg_event_log'), 0),
       (SELECT lower(hex(identity)) FROM dg_history)
