-- A lease also says from when on it may run: one that begins ahead of the clock was given before the clock was set back, and is over. And a
-- process says exactly which one of its machine it is, so that a successor on that machine sees that it is gone. Programs that do not
-- know the columns leave them as they are: their leases end by `expires_at` alone, as before.
ALTER TABLE dg_node
    ADD COLUMN not_before timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN process    text COLLATE "C";
