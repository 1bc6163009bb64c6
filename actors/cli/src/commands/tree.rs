//! `tree`: the live actors of a node, or of all nodes.

use super::{Context, status};
use crate::connection::Connection;
use crate::interrupt;
use crate::page::Page;
use crate::tree_text;
use clap::Args;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{
    AdminError, Command, ExitCode, LinksReply, Partial, PeerRequest, TreeReply, TreeRequest, TreesReply,
};
use std::io::IsTerminal as _;
use std::time::Duration;

/// Most actors per request.
const PAGE_ACTORS: usize = 5_000;
/// Word that stands for every node.
const ALL: &str = "all";

/// Show the live actors of a node: state, restarts, mailboxes, work, and differences between actors and database
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph tree\n  decisiongraph tree --under 'node/scopes/tenant acme' --watch\n  decisiongraph tree --of all\n  decisiongraph tree --dot | dot -Tsvg > tree.svg"
)]
pub struct Tree {
    /// Only this actor and the actors below it, by path: node/scopes, 'node/scopes/tenant acme'
    #[arg(long, value_name = "PATH")]
    under: Option<String>,
    /// Node of this name, or `all`, asked through the connected node [default: the connected node]
    #[arg(long, value_name = "NODE")]
    of: Option<String>,
    /// Show this many actors at most [default: all]
    #[arg(long, value_name = "ACTORS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print Graphviz DOT
    #[arg(long, conflicts_with = "json")]
    dot: bool,
    /// Repeat every SECONDS (0.1 to 3600) until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = pause)]
    watch: Option<Duration>,
}

fn pause(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a number of seconds from 0.1 to 3600".to_owned()),
    }
}

impl Tree {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let first = self.look(context).await?;
        let Some(pause) = self.watch else {
            self.print(context, &first)?;
            return Ok(ExitCode::OK);
        };
        let clears = std::io::stdout().is_terminal() && !context.output.json;
        let mut looked = Ok(first);
        loop {
            match looked {
                Ok(reply) => {
                    if clears {
                        context.output.clear()?;
                    }
                    self.print(context, &reply)?;
                    if !clears && !context.output.json {
                        context.output.page(&Page::of("---"))?;
                    }
                }
                // A node that is being restarted comes back. Until then its last tree stays.
                Err(error) => context.output.error(&error),
            }
            tokio::time::sleep(pause).await;
            looked = self.look(context).await;
        }
    }

    /// Asks for one tree, or for the trees of all nodes.
    async fn look(&self, context: &Context) -> Result<Looked, AdminError> {
        let connection = Connection::to_node(&context.globals).await?;
        if self.of.as_deref() != Some(ALL) {
            return self.look_at(&connection, self.of.as_deref()).await.map(|tree| Looked::One(Box::new(tree)));
        }
        let asked = connection.ask(PeerRequest::Links).await?;
        let links = LinksReply::try_from(asked)?;
        let linked = links.links.into_iter().map(|link| link.node);
        let names: Vec<String> = std::iter::once(links.node).chain(linked).chain(links.unlinked).collect();
        let looked =
            futures_util::future::join_all(names.iter().map(|name| self.look_at(&connection, Some(name)))).await;
        let (mut nodes, mut partial) = (Vec::new(), Vec::new());
        for (node, tree) in names.into_iter().zip(looked) {
            match tree {
                Ok(tree) => nodes.push(tree),
                Err(error) => partial.push(Partial { node, error }),
            }
        }
        Ok(Looked::All(TreesReply { nodes, partial }))
    }

    /// Asks for all pages of a node and joins them into one reply.
    async fn look_at(&self, connection: &Connection, of: Option<&str>) -> Result<TreeReply, AdminError> {
        let wanted = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut whole: Option<TreeReply> = None;
        loop {
            let (known, after) = match &whole {
                Some(whole) => (whole.actors.len(), whole.next.clone()),
                None => (0, None),
            };
            let limit = (wanted - known).min(PAGE_ACTORS) as i64;
            let request = TreeRequest { of: of.map(str::to_owned), under: self.under.clone(), after, limit };
            let page = connection.ask(request).await?;
            is_meant(of, &page)?;
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

    fn print(&self, context: &Context, looked: &Looked) -> Result<(), AdminError> {
        let text = if self.dot { tree_text::dot } else { tree_text::text };
        let page = || match looked {
            Looked::One(tree) => text(tree),
            Looked::All(trees) => {
                let mut page = Page::default();
                for (at, tree) in trees.nodes.iter().enumerate() {
                    if at > 0 {
                        page.line("");
                    }
                    page.page(text(tree));
                }
                if !self.dot {
                    page.page(status::not_asked(&trees.partial));
                }
                page
            }
        };
        match looked {
            _ if self.dot => context.output.page(&page()),
            Looked::One(tree) => context.output.reply(&**tree, page),
            Looked::All(trees) => context.output.reply(trees, page),
        }
    }
}

/// Trees that were asked for: of one node, or of all.
enum Looked {
    One(Box<TreeReply>),
    All(TreesReply),
}

/// Checks that the asked node has answered: a node of another release answers for itself, even when asked for another.
fn is_meant(of: Option<&str>, reply: &TreeReply) -> Result<(), AdminError> {
    match of {
        Some(name) if name != reply.node.name => Err(AdminError::new(
            Category::NotFound,
            format!("node `{}` answers instead of node `{name}`", reply.node.name),
        )
        .next(format!(
            "ask that node directly (--node ADDR), or {}",
            Command::about_all("tree --of").word(&reply.node.name)
        ))),
        _ => Ok(()),
    }
}
