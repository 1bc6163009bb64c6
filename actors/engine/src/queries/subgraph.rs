//! The neighbourhood of a node, breadth first, with the reference's limits.
//!
//! [`Search`] decides and is pure. [`subgraph`] only fetches the edges of each depth, one page at a time in `edge_id`
//! order. It stops as soon as the search does. At most one page beyond the limits is ever in memory.

use super::rows::{by_key, edge_of, node_of};
use decisiongraph_projections::catalogue::CONTEXT_GRAPH;
use decisiongraph_projections::{Row, TenantId};
use decisiongraph_protocol::query::{Edge, READ_BYTES_MAX, Subgraph, SubgraphQuery};
use decisiongraph_store::{Generation, PageLimit, ReadView, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Edges per fetch.
const PAGE_EDGES: usize = 1_000;
/// Nodes per fetch.
const PAGE_NODES: usize = 1_000;

/// Finds the neighbourhood. A center that does not exist has none: no nodes, no edges, nothing truncated.
pub async fn subgraph(
    view: &dyn ReadView,
    tenant: &TenantId,
    generation: Option<Generation>,
    query: &SubgraphQuery,
) -> Result<Subgraph> {
    query.validate()?;
    let Some(generation) = generation else { return Ok(Subgraph::default()) };
    let center = BTreeSet::from([query.node_id.clone()]);
    if by_key(view, tenant, CONTEXT_GRAPH, generation, 0, center.clone()).await?.is_empty() {
        return Ok(Subgraph::default());
    }
    let mut search = Search::new(query);
    let mut frontier = center;
    'search: for _ in 0..query.max_depth {
        let mut after: Option<String> = None;
        loop {
            let types = query.edge_types.as_deref();
            let limit = PageLimit::of(PAGE_EDGES, READ_BYTES_MAX);
            let page = view.edges_touching(tenant, generation, &frontier, types, after.as_deref(), limit).await?;
            for row in &page.items {
                if search.offer(edge_of(row)).is_break() {
                    break 'search;
                }
            }
            match page.items.last() {
                Some(last) if page.more => after = Some(last.key().to_owned()),
                _ => break,
            }
        }
        frontier = std::mem::take(&mut search.discovered);
        if frontier.is_empty() {
            break;
        }
    }
    let mut nodes = Vec::with_capacity(search.nodes.len());
    let mut ids = search.nodes.into_iter();
    let (mut truncated, mut bytes) = (search.truncated, 0);
    loop {
        let chunk: BTreeSet<String> = ids.by_ref().take(PAGE_NODES).collect();
        if chunk.is_empty() {
            break;
        }
        if bytes > READ_BYTES_MAX {
            truncated = true;
            break;
        }
        let rows = by_key(view, tenant, CONTEXT_GRAPH, generation, 0, chunk).await?;
        bytes += rows.iter().map(Row::bytes).sum::<usize>();
        nodes.extend(rows.iter().map(node_of));
    }
    nodes.sort_unstable_by(|a, b| a.node_id.cmp(&b.node_id));
    Ok(Subgraph { nodes, edges: search.edges.into_values().collect(), truncated })
}

/// The search itself: edges are offered in order, depth by depth.
struct Search<'q> {
    query: &'q SubgraphQuery,
    nodes: BTreeSet<String>,
    edges: BTreeMap<String, Edge>,
    /// Bytes of the nodes and edges that were taken.
    bytes: usize,
    /// Nodes taken at this depth: the next frontier.
    discovered: BTreeSet<String>,
    truncated: bool,
}

impl<'q> Search<'q> {
    fn new(query: &'q SubgraphQuery) -> Search<'q> {
        Search {
            query,
            nodes: BTreeSet::from([query.node_id.clone()]),
            edges: BTreeMap::new(),
            bytes: 0,
            discovered: BTreeSet::new(),
            truncated: false,
        }
    }

    /// Takes an unseen edge and its unseen ends; breaks when a limit stops the search.
    fn offer(&mut self, edge: Edge) -> ControlFlow<()> {
        if self.edges.contains_key(&edge.edge_id) {
            return ControlFlow::Continue(());
        }
        let bytes = edge.bytes();
        let full = self.bytes + bytes > READ_BYTES_MAX && !self.edges.is_empty();
        if self.edges.len() as i64 >= self.query.max_edges || full {
            return self.stop();
        }
        self.bytes += bytes;
        let ends = [edge.from_node_id.clone(), edge.to_node_id.clone()];
        self.edges.insert(edge.edge_id.clone(), edge);
        for node in ends {
            if self.nodes.contains(&node) || !self.passes(&node) {
                continue;
            }
            if self.nodes.len() as i64 >= self.query.max_nodes {
                return self.stop();
            }
            self.discovered.insert(node.clone());
            self.nodes.insert(node);
        }
        ControlFlow::Continue(())
    }

    fn stop(&mut self) -> ControlFlow<()> {
        self.truncated = true;
        ControlFlow::Break(())
    }

    /// True when the query admits the node. A node's type is the text before the first `:` of its id.
    fn passes(&self, node_id: &str) -> bool {
        let node_type = node_id.split(':').next().unwrap_or_default();
        self.query.node_types.as_ref().is_none_or(|types| types.iter().any(|wanted| wanted == node_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::LogSeq;

    fn edge(id: &str, from: &str, to: &str) -> Edge {
        Edge {
            edge_id: id.to_owned(),
            edge_type: "t".to_owned(),
            from_node_id: from.to_owned(),
            to_node_id: to.to_owned(),
            trace_id: String::new(),
            log_seq: LogSeq(1),
            created_at: String::new(),
        }
    }

    #[test]
    fn an_edge_is_taken_before_the_node_that_no_longer_fits() {
        let query = SubgraphQuery { max_nodes: 1, ..SubgraphQuery::around("trace:a") };
        let mut search = Search::new(&query);
        assert!(search.offer(edge("e1", "trace:a", "entity:x")).is_break());
        assert!(search.truncated);
        assert_eq!((search.nodes.len(), search.edges.len()), (1, 1));
    }

    #[test]
    fn a_filtered_node_is_neither_taken_nor_followed_and_a_seen_edge_costs_nothing() {
        let query = SubgraphQuery {
            max_edges: 1,
            node_types: Some(vec!["policy".to_owned()]),
            ..SubgraphQuery::around("trace:a")
        };
        let mut search = Search::new(&query);
        assert!(search.offer(edge("e1", "trace:a", "entity:x")).is_continue());
        assert!(search.offer(edge("e1", "trace:a", "entity:x")).is_continue());
        assert!(search.discovered.is_empty() && !search.truncated);
        assert!(search.offer(edge("e2", "trace:a", "policy:p")).is_break());
        assert!(search.truncated);
    }
}
