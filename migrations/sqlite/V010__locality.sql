-- Rows that are written together lie together in the indexes (ADR 12): four bytes stand before the hash of a key that its neighbours have too,
-- the first of the SHA-256 of what ids made one after the other have in common. dg_placed is a function of the program: -1 is what is
-- behind the first `:` of the key, -2 all of it.
UPDATE dg_cg_nodes SET row_key = dg_placed(node_id, row_key, -1);
UPDATE dg_cg_edges SET row_key = dg_placed(edge_id, row_key, 2);
UPDATE dg_trace_summary SET row_key = dg_placed(trace_id, row_key, -2);
UPDATE dg_policy_eval_index SET row_key = dg_placed(index_id, row_key, 0);
UPDATE dg_precedent_index SET row_key = dg_placed(source_event_id, row_key, -2), trace_id_key = dg_placed(trace_id, trace_id_key, -2);

UPDATE dg_schema SET serves_from = 10;
