-- Turns of traces: appends that draw the numbers of a trace follow one another. A row that is locked until the end of the append. Traces
-- share the rows by hash. Not an advisory lock, which any role may take and keep: a row can be locked only by a role that may update it.
CREATE TABLE dg_trace_turn (turn integer NOT NULL PRIMARY KEY);
INSERT INTO dg_trace_turn SELECT generate_series(0, 1023);
