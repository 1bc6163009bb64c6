-- Beside the hash of each end of an edge the position since which there is that node, if the same batch wrote both, else 0, which says nothing
-- (ADR 12): 0 is right for every edge that is there now. It stands first in the indexes, so that new edges come at their end and
-- writing one costs the same behind a long history.
ALTER TABLE dg_cg_edges ADD COLUMN from_node_id_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dg_cg_edges ADD COLUMN to_node_id_since INTEGER NOT NULL DEFAULT 0;
DROP INDEX dg_cg_edges_from;
DROP INDEX dg_cg_edges_to;
CREATE INDEX dg_cg_edges_from ON dg_cg_edges (tenant_id, generation, from_node_id_since, from_node_id_key, log_seq);
CREATE INDEX dg_cg_edges_to ON dg_cg_edges (tenant_id, generation, to_node_id_since, to_node_id_key, log_seq);

UPDATE dg_schema SET serves_from = 11;
