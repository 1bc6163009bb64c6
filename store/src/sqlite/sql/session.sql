-- Connections: their settings.

-- name: reader
-- A reader's settings. Sorting spills to files: memory is bounded whatever the projection's size. No memory map: the file
-- grows with every checkpoint, so it would be mapped anew again and again (3 % of a catch-up), and its pages count as ours.
PRAGMA cache_size = -16384;
PRAGMA temp_store = FILE;

-- name: writer
-- The writer's settings. The page size counts for a new file only. Checkpoints run beside the writer (see `checkpoint`); it makes one itself
-- only when the log is four times as long as that allows.
PRAGMA page_size = 4096;
PRAGMA foreign_keys = OFF;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 32000;
PRAGMA journal_size_limit = 134217728;
PRAGMA temp_store = FILE;

-- name: scratch
-- A scratch store is folded into and read once, so it does without the indexes of queries.
DROP INDEX dg_cg_edges_from;
DROP INDEX dg_cg_edges_to;
DROP INDEX dg_trace_summary_finished;
DROP INDEX dg_precedent_index_policy;
