-- The writer's settings. The page size counts for a new file only. A checkpoint is due every 48 MB of log, not every 4 MB:
-- hashed keys touch many pages, and each checkpoint writes a page once however often it changed.
PRAGMA page_size = 4096;
PRAGMA foreign_keys = OFF;
PRAGMA cache_size = -65536;
PRAGMA wal_autocheckpoint = 12000;
PRAGMA journal_size_limit = 67108864;
PRAGMA temp_store = FILE;
