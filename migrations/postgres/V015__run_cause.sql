-- A job also says who asked for it, why, and what that program noted for itself (a JSON object as text). Jobs from before, and of programs
-- that do not know the columns, say nothing.
ALTER TABLE dg_run
    ADD COLUMN reason       text COLLATE "C",
    ADD COLUMN requested_by text COLLATE "C",
    ADD COLUMN metadata     text COLLATE "C";
