-- A reader's settings. Sorting spills to files: memory is bounded whatever the projection's size. No memory map: the file
-- grows with every checkpoint, so it would be mapped anew again and again (3 % of a catch-up), and its pages count as ours.
PRAGMA cache_size = -16384;
PRAGMA temp_store = FILE;
