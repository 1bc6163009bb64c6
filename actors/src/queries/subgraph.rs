//! The neighbourhood of a node, breadth first, with the reference's limits.
//!
//! [`Search`] decides and is pure; [`subgraph`] only fetches the edges of each depth, a page at a time in `edge_id` order, and
//! stops as soon as the search does. At most one page beyond the limits is ever in memory.

use super::READ_BYTES_MAX;
use super::rows::{Edge, Node, by_key};
use decisiongraph_projections::catalogue::CONTEXT_GRAPH;
use decisiongraph_projections::{Category, Refusal, Row, TenantId};
use decisiongraph_store::{Generation, PageLimit, ReadView, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Deepest search.
pub const DEPTH_MAX: i64 = 10;
/// Most nodes that can be asked for.
pub const NODES_MAX: i64 = 10_000;
/// Most edges that can be asked for.
pub const EDGES_MAX: i64 = 10_000;
/// Edges fetched at once.
const PAGE_EDGES: usize = 1_000;
/// Nodes fetched at once.
const PAGE_NODES: usize = 1_000;

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubgraphQuery {
    /// The center, `{node_type}:{identifier}`.
    pub node_id: String,
    /// Steps from the center, 0 to [`DEPTH_MAX`].
    pub max_depth: i64,
    /// Most nodes, the center included, 1 to [`NODES_MAX`].
    pub max_nodes: i64,
    /// Most edges, 1 to [`EDGES_MAX`].
    pub max_edges: i64,
    /// Only nodes of these types (the center always counts).
    pub node_types: Option<Vec<String>>,
    /// Only edges of these types.
    pub edge_types: Option<Vec<String>>,
}

impl SubgraphQuery {
    /// The reference's defaults: one step, 100 nodes, 100 edges, every type.
    pub fn around(node_id: impl Into<String>) -> SubgraphQuery {
        SubgraphQuery {
            node_id: node_id.into(),
            max_depth: 1,
            max_nodes: 100,
            max_edges: 100,
            node_types: None,
            edge_types: None,
        }
    }

    fn validate(&self) -> std::result::Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(Category::InvalidArgument, message));
        if !(0..=DEPTH_MAX).contains(&self.max_depth) {
            return refuse(format!("max_depth is 0 to {DEPTH_MAX}, not {}", self.max_depth));
        }
        for (name, limit, most) in [("max_nodes", self.max_nodes, NODES_MAX), ("max_edges", self.max_edges, EDGES_MAX)]
        {
            if !(1..=most).contains(&limit) {
                return refuse(format!("{name} is 1 to {most}, not {limit}"));
            }
        }
        Ok(())
    }
}

/// What was found: nodes by id, edges by id. An edge's far end may be missing from the nodes when its type was filtered out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subgraph {
    /// By `node_id`.
    pub nodes: Vec<Node>,
    /// By `edge_id`.
    pub edges: Vec<Edge>,
    /// Whether a limit cut it short.
    pub truncated: bool,
}

/// The neighbourhood. A center that does not exist has none: no nodes, no edges, nothing truncated.
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
                if search.offer(Edge::of(row)).is_break() {
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
        nodes.extend(rows.iter().map(Node::of));
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

    /// A node's type is the text before the first `:` of its id.
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

    #[test]
    fn limits_are_checked() {
        for (depth, nodes, edges) in
            [(-1, 1, 1), (11, 1, 1), (1, 0, 1), (1, 1, -5), (1, NODES_MAX + 1, 1), (1, 1, i64::MAX)]
        {
            let query = SubgraphQuery {
                max_depth: depth,
                max_nodes: nodes,
                max_edges: edges,
                ..SubgraphQuery::around("trace:a")
            };
            assert_eq!(query.validate().expect_err("refused").category, Category::InvalidArgument);
        }
    }
}
