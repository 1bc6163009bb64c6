//! `subgraph`: the neighbourhood of a node.

use super::Context;
use super::read_flags::{FreshnessFlags, stale};
use crate::graph_text::{dot, mermaid};
use crate::output::number;
use crate::page::Page;
use clap::{Args, ValueEnum};
use decisiongraph_engine::queries::{Subgraph as Answer, SubgraphQuery};
use decisiongraph_protocol::{AdminError, ExitCode, ReadRequest};

/// Show the neighbourhood of a node of the context graph, breadth first
#[derive(Args)]
#[command(after_help = "\
Examples:
  decisiongraph subgraph trace:discount-acme-2026q3
  decisiongraph subgraph entity:account:acme --max-depth 2 --format dot | dot -Tsvg > acme.svg
  decisiongraph subgraph policy:discount_cap:2 --node-type trace --edge-type trace_evaluated_policy")]
pub struct Subgraph {
    /// The center, TYPE:ID, such as entity:account:acme or trace:ID
    #[arg(value_name = "NODE_ID")]
    node_id: String,
    /// Steps from the center, 0 to 10
    #[arg(long, visible_alias = "depth", value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    max_depth: i64,
    /// Most nodes, the center included, 1 to 10,000
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    max_nodes: i64,
    /// Most edges, 1 to 10,000
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    max_edges: i64,
    /// Only nodes of these types (repeat, or separate by commas)
    #[arg(long, visible_alias = "node-type", value_name = "TYPE", value_delimiter = ',')]
    node_types: Vec<String>,
    /// Only edges of these types (repeat, or separate by commas)
    #[arg(long, visible_alias = "edge-type", value_name = "TYPE", value_delimiter = ',')]
    edge_types: Vec<String>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    freshness: FreshnessFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// Graphviz
    Dot,
    /// For Markdown
    Mermaid,
}

impl Subgraph {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let some = |types: Vec<String>| (!types.is_empty()).then_some(types);
        let query = SubgraphQuery {
            node_id: self.node_id.clone(),
            max_depth: self.max_depth,
            max_nodes: self.max_nodes,
            max_edges: self.max_edges,
            node_types: some(self.node_types),
            edge_types: some(self.edge_types),
        };
        let freshness = self.freshness.freshness();
        let request = ReadRequest { tenant: context.globals.tenant.clone(), freshness, query };
        context
            .show(request, |read| match self.format {
                Format::Table => {
                    let mut page = stale(read.stale.as_ref());
                    page.page(text(&self.node_id, &read.answer));
                    page
                }
                Format::Dot => dot(&self.node_id, &read.answer),
                Format::Mermaid => mermaid(&self.node_id, &read.answer),
            })
            .await
    }
}

/// Renders nodes and edges, and a note when something was cut.
pub fn text(center: &str, graph: &Answer) -> Page {
    if graph.nodes.is_empty() {
        let example = "a node id is TYPE:ID, such as trace:ID or entity:account:ID";
        return Page::of(format_args!("there is no node {center} ({example})"));
    }
    let nodes = graph.nodes.iter().map(|node| {
        vec![node.node_id.clone(), node.node_type.clone(), number(node.log_seq.0), node.created_at.clone()]
    });
    let mut page = Page::of(format_args!("{} nodes", number(graph.nodes.len() as u64)));
    page.table(&["node", "type", "#log_seq", "created_at"], nodes);
    page.line(format_args!("{} edges", number(graph.edges.len() as u64)));
    edge_table(&mut page, &graph.edges);
    if graph.truncated {
        page.ours("Truncated: raise --max-nodes or --max-edges to see more.");
    }
    page
}

/// Adds a table of edges, one per line.
pub fn edge_table(page: &mut Page, edges: &[decisiongraph_engine::queries::Edge]) {
    let rows = edges.iter().map(|edge| {
        vec![edge.from_node_id.clone(), edge.edge_type.clone(), edge.to_node_id.clone(), number(edge.log_seq.0)]
    });
    page.table(&["from", "edge", "to", "#log_seq"], rows);
}
