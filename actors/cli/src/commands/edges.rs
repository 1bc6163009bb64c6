//! `edges`: the edges of a node, page by page.

use super::Context;
use super::read_flags::{FreshnessFlags, stale};
use super::subgraph::edge_table;
use clap::{Args, ValueEnum};
use decisiongraph_engine::queries::EdgesQuery;
use decisiongraph_protocol::{AdminError, ExitCode, ReadRequest};
use decisiongraph_store::Direction;

/// List the edges of a node, in log order
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph edges entity:account:acme --direction incoming --limit 20")]
pub struct Edges {
    /// The node, TYPE:ID
    #[arg(value_name = "NODE_ID")]
    node_id: String,
    /// Direction, seen from the node
    #[arg(long, value_enum, default_value_t = Way::Both)]
    direction: Way,
    /// Continue after a page: its next_cursor (of the same direction)
    #[arg(long)]
    cursor: Option<String>,
    /// Most edges
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    limit: i64,
    #[command(flatten)]
    freshness: FreshnessFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Outgoing,
    Incoming,
    Both,
}

impl Edges {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let direction = match self.direction {
            Way::Outgoing => Direction::Outgoing,
            Way::Incoming => Direction::Incoming,
            Way::Both => Direction::Both,
        };
        let query = EdgesQuery { node_id: self.node_id, direction, cursor: self.cursor, limit: self.limit };
        let freshness = self.freshness.freshness();
        let request = ReadRequest { tenant: context.globals.tenant.clone(), freshness, query };
        context
            .show(request, |read| {
                let mut page = stale(read.stale.as_ref());
                edge_table(&mut page, &read.answer.edges);
                if let Some(cursor) = &read.answer.next_cursor {
                    page.line(format_args!("There are more: --cursor {cursor}"));
                }
                page
            })
            .await
    }
}
