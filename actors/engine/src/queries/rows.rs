//! Rows of the read models with named columns, as replies show them.

use decisiongraph_projections::catalogue::{CONTEXT_GRAPH, TRACE_SUMMARY};
use decisiongraph_projections::{Fetch, LogSeq, Needs, Projection, Row, RowsNeed, TenantId, Value};
use decisiongraph_protocol::query::{Edge, Node, READ_BYTES_MAX, Summary};
use decisiongraph_store::{Generation, ReadView, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Reads the columns of a row by name.
struct Columns<'r> {
    projection: &'static dyn Projection,
    table: usize,
    row: &'r Row,
}

impl Columns<'_> {
    fn value(&self, name: &str) -> &Value {
        &self.row.0[self.projection.tables()[self.table].column(name)]
    }
    fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }
    fn optional(&self, name: &str) -> Option<String> {
        self.value(name).as_str().map(str::to_owned)
    }
    fn int(&self, name: &str) -> i64 {
        self.value(name).as_int().unwrap_or_default()
    }
}

/// Reads the node in this row of table 0 of the context graph.
pub(super) fn node_of(row: &Row) -> Node {
    let c = Columns { projection: CONTEXT_GRAPH, table: 0, row };
    Node {
        node_id: c.text("node_id"),
        node_type: c.text("node_type"),
        trace_id: c.text("trace_id"),
        log_seq: LogSeq(c.int("log_seq")),
        created_at: c.text("created_at"),
    }
}

/// Reads the edge in this row of table 1 of the context graph.
pub(super) fn edge_of(row: &Row) -> Edge {
    let c = Columns { projection: CONTEXT_GRAPH, table: 1, row };
    Edge {
        edge_id: c.text("edge_id"),
        edge_type: c.text("edge_type"),
        from_node_id: c.text("from_node_id"),
        to_node_id: c.text("to_node_id"),
        trace_id: c.text("trace_id"),
        log_seq: LogSeq(c.int("log_seq")),
        created_at: c.text("created_at"),
    }
}

/// Reads the summary in this row.
pub(super) fn summary_of(row: &Row) -> Summary {
    let c = Columns { projection: TRACE_SUMMARY, table: 0, row };
    Summary {
        trace_id: c.text("trace_id"),
        workflow: c.text("workflow"),
        title: c.text("title"),
        primary_entity_type: c.optional("primary_entity_type"),
        primary_entity_system: c.optional("primary_entity_system"),
        primary_entity_id: c.optional("primary_entity_id"),
        started_at: c.text("started_at"),
        outcome: c.optional("outcome"),
        finished_at: c.optional("finished_at"),
        event_count: c.int("event_count"),
        last_log_seq: LogSeq(c.int("last_log_seq")),
    }
}

/// Reads the rows of a table with these canonical keys; keys without a row are left out. Rows that are too large for
/// one answer are read in halves. A single row is read whatever its size.
pub(super) async fn by_key(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
    table: usize,
    keys: BTreeSet<String>,
) -> Result<Vec<Row>> {
    let mut keys: Vec<Arc<str>> = keys.into_iter().map(Into::into).collect();
    let (mut rows, mut at_once) = (Vec::with_capacity(keys.len()), keys.len());
    while !keys.is_empty() {
        let first = keys.len().saturating_sub(at_once);
        let need = RowsNeed { values: keys[first..].iter().cloned().collect(), ..RowsNeed::of(table, 0, Fetch::Rows) };
        let needs = Arc::new(Needs { rows: vec![need], ..Needs::default() });
        let bytes_max = if keys.len() - first == 1 { usize::MAX } else { READ_BYTES_MAX };
        match view.prior_rows(tenant, projection, generation, &needs, bytes_max).await? {
            Some(found) => {
                rows.extend(found.rows.into_iter().flatten());
                keys.truncate(first);
            }
            None => at_once = (keys.len() - first) / 2,
        }
    }
    Ok(rows)
}
