-- The writer's settings. The page size counts for a new file only. Checkpoints run beside the writer (see `checkpoint`); it makes one itself
-- only when the log is four times as long as that allows.
PRAGMA page_size = 4096;
PRAGMA foreign_keys = OFF;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 32000;
PRAGMA journal_size_limit = 134217728;
PRAGMA temp_store = FILE;
