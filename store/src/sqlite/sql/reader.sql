-- A reader's settings. Sorting spills to files: memory is bounded whatever the projection's size.
PRAGMA cache_size = -16384;
PRAGMA mmap_size = 268435456;
PRAGMA temp_store = FILE;
