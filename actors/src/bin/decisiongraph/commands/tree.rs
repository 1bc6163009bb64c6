//! `tree`: the live actors of a node.

use super::{Context, unexpected};
use crate::connection::Connection;
use crate::interrupt;
use crate::tree_text;
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode, TreeReply, TreeRequest};
use decisiongraph_projections::Category;
use std::io::IsTerminal as _;
use std::time::Duration;

/// Actors that one request brings at most.
const PAGE_ACTORS: usize = 5_000;
/// Moves to the upper left corner and clears the terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Show the live actors of a node: state, restarts, mailboxes, work, and where actors and database disagree
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph tree\n  decisiongraph tree --under 'node/scopes/tenant acme' --watch\n  decisiongraph tree --dot | dot -Tsvg > tree.svg"
)]
pub struct Tree {
    /// This actor and those below it, by path: node/scopes, 'node/scopes/tenant acme'
    #[arg(long, value_name = "PATH")]
    under: Option<String>,
    /// The node of this name; it is the one that is asked
    #[arg(long, value_name = "NODE")]
    of: Option<String>,
    /// Show this many actors at most [default: all]
    #[arg(long, value_name = "ACTORS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print Graphviz DOT
    #[arg(long, conflicts_with = "json")]
    dot: bool,
    /// Show it again every SECONDS (0.1 to 3600) until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = pause)]
    watch: Option<Duration>,
}

fn pause(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.1 to 3600".to_owned()),
    }
}

impl Tree {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let first = self.look(context).await?;
        let Some(pause) = self.watch else {
            self.print(context, first)?;
            return Ok(ExitCode::OK);
        };
        let clears = std::io::stdout().is_terminal() && !context.output.json;
        let mut looked = Ok(first);
        loop {
            match looked {
                Ok(reply) => {
                    if clears {
                        context.output.text(CLEAR)?;
                    }
                    self.print(context, reply)?;
                    if !clears && !context.output.json {
                        context.output.text("---")?;
                    }
                }
                // A node that is being started again comes back; until then its last tree stays.
                Err(error) => context.output.error(&error),
            }
            tokio::time::sleep(pause).await;
            looked = self.look(context).await;
        }
    }

    /// All pages as one reply.
    async fn look(&self, context: &Context) -> Result<TreeReply, AdminError> {
        let connection = Connection::to_node(&context.globals).await?;
        let wanted = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut whole: Option<TreeReply> = None;
        loop {
            let (known, after) = match &whole {
                Some(whole) => (whole.actors.len(), whole.next.clone()),
                None => (0, None),
            };
            let limit = (wanted - known).min(PAGE_ACTORS) as i64;
            let request = AdminRequest::Tree(TreeRequest { under: self.under.clone(), after, limit });
            let AdminReply::Tree(page) = connection.ask(request).await? else { return Err(unexpected()) };
            self.is_meant(&page)?;
            let reply = match whole.take() {
                Some(mut reply) => {
                    reply.actors.extend(page.actors);
                    TreeReply { next: page.next, ..reply }
                }
                None => page,
            };
            if reply.next.is_none() || reply.actors.len() >= wanted {
                return Ok(reply);
            }
            whole = Some(reply);
        }
    }

    fn is_meant(&self, reply: &TreeReply) -> Result<(), AdminError> {
        match &self.of {
            Some(name) if *name != reply.node.name => Err(AdminError::new(
                Category::NotFound,
                format!("the node `{name}` is not the one that answers: that is `{}`", reply.node.name),
            )
            .next(format!("ask that node itself (--node ADDR), or `decisiongraph tree --of {}`", reply.node.name))),
            _ => Ok(()),
        }
    }

    fn print(&self, context: &Context, reply: TreeReply) -> Result<(), AdminError> {
        if self.dot {
            return context.output.text(&tree_text::dot(&reply));
        }
        let reply = AdminReply::Tree(reply);
        context.output.reply(&reply, || match &reply {
            AdminReply::Tree(tree) => tree_text::text(tree),
            _ => String::new(),
        })
    }
}
