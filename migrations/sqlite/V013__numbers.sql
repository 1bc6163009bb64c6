-- Places by number (ADR 12): the four bytes before the hash of a key are those of the digits of its id, so that ids of a `:` and ids with something
-- before their number lie with their neighbours, too. dg_placed is a function of the program.
UPDATE dg_cg_nodes SET row_key = dg_placed(node_id, substr(row_key, 5), 1);
UPDATE dg_cg_edges SET row_key = dg_placed(edge_id, substr(row_key, 5), 2);
UPDATE dg_trace_summary SET row_key = dg_placed(trace_id, substr(row_key, 5), 0);
UPDATE dg_policy_eval_index SET row_key = dg_placed(index_id, substr(row_key, 5), 0);
UPDATE dg_precedent_index SET trace_id_key = dg_placed(trace_id, substr(trace_id_key, 5), 0);
UPDATE dg_precedent_index SET row_key = CAST(substr(trace_id_key, 1, 4) || substr(row_key, 5) AS BLOB);

-- And where the position beside an end of an edge was 0, it now is where the edge's stretch of the log begins. 0 is right for those that are there
-- now; who looks edges up must ask for both, so older programs cannot work on this.
UPDATE dg_schema SET serves_from = 13;
