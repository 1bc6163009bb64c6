//! `bisect`: the first event in which two copies of a sealed log differ.

mod asked;

use super::Context;
use crate::connection::Connection;
use crate::globals::Globals;
use crate::interrupt;
use crate::node_web::NodeWeb;
use crate::output::number;
use crate::page::Page;
use crate::session::{Access, Location};
use asked::{AskedCopy, Side};
use clap::Args;
use decisiongraph_engine::Engine;
use decisiongraph_engine::seal::bisect::{self, Bisected, ByLog, Difference, StoredCopy};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_rpc::NodeAddress;
use decisiongraph_store::{DatabaseUrl, LoggedEvent};
use serde::Serialize;
use std::path::PathBuf;

/// Find the first event in which two copies of a sealed log differ
///
/// For a replica, a restored backup, a copied file; as databases or as running nodes. Their trees are compared from the
/// root down, so few pairs of tiles are read, whatever the length of the log. Copies that were sealed apart, such as an
/// export and its import, have other salts: `--by-log` compares all events of two databases. The exit code is 3 when
/// there is a difference. Folders of tiles are not read.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph bisect postgres://db-1/decisions postgres://db-2/decisions
  decisiongraph bisect unix:/run/decisiongraph/node.sock 127.0.0.1:4099 --secret-file secret
  decisiongraph bisect https://db-1.example https://db-2.example --token-file token --tenant acme
  decisiongraph bisect sqlite:old.db sqlite:new.db --by-log

Two nodes behind TCP have one secret (--secret-file), as the nodes of a cluster have. Over HTTP, the token's identity
needs the rights `prove` and `read`, and events of more than 4 MiB are not shown.")]
pub struct Bisect {
    /// The one copy: postgres://…, sqlite:PATH, or a node (unix:PATH, HOST:PORT, http://HOST:PORT, https://HOST)
    #[arg(value_name = "COPY_A")]
    one: String,
    /// The other copy
    #[arg(value_name = "COPY_B")]
    other: String,
    /// Compare the events of both logs, whatever their seals: reads all of them; of databases alone
    #[arg(long)]
    by_log: bool,
    /// File with the token for a node's HTTP interface, not readable by other users
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Result, for programs.
#[derive(Serialize)]
struct Found {
    same: bool,
    /// Events that were found to be the same, from the first on.
    common: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sizes: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tile_pairs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<First>,
}

/// First difference, for programs.
#[derive(Serialize)]
struct First {
    index: u64,
    log_seq: [Option<i64>; 2],
    event_id: [Option<String>; 2],
    /// Columns that differ. Without any, the seals differ, and the events do not.
    columns: Vec<&'static str>,
    sealed_apart: bool,
}

impl Bisect {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let (one, other) = (self.open(context, &self.one).await?, self.open(context, &self.other).await?);
        let names = [one.address(), other.address()];
        let found = self.compare(context, one, other).await?;
        if context.output.json {
            context.output.json(&found)?;
        } else {
            context.output.page(&text(&found, &names))?;
        }
        Ok(if found.same { ExitCode::OK } else { ExitCode::DRIFT })
    }

    async fn compare(&self, context: &Context, one: Side, other: Side) -> Result<Found, AdminError> {
        let tenant: TenantId = context.globals.tenant.clone().unwrap_or_default();
        let (left, right) = match (engine(&one), engine(&other)) {
            (Some(one), Some(other)) => (one.store().snapshot().await?, other.store().snapshot().await?),
            _ if self.by_log => {
                let what = "--by-log reads whole logs, and of a node it has none";
                return Err(AdminError::new(Category::InvalidArgument, what)
                    .next("name both databases, or leave --by-log out: the trees are compared"));
            }
            _ => {
                let (left, right) = (AskedCopy::open(one, &tenant).await?, AskedCopy::open(other, &tenant).await?);
                return Ok(of_trees(bisect::bisect(&left, &right).await?));
            }
        };
        if self.by_log {
            return Ok(of_log(bisect::by_log(&*left, &*right, &tenant).await?));
        }
        let (left, right) = (StoredCopy::open(&*left, &tenant).await?, StoredCopy::open(&*right, &tenant).await?);
        Ok(of_trees(bisect::bisect(&left, &right).await?))
    }

    /// Opens a copy: a database in this process, or a node.
    async fn open(&self, context: &Context, copy: &str) -> Result<Side, AdminError> {
        if NodeWeb::is_address(copy) {
            return Ok(Side::Web(NodeWeb::open(&context.globals, copy, self.token_file.as_deref())?));
        }
        if DatabaseUrl::parse(copy).is_err() && NodeAddress::parse(copy).is_ok() {
            let globals = Globals { database: None, node: Some(copy.to_owned()), ..context.globals.clone() };
            return Ok(Side::Asked(Box::new(Connection::to_node(&globals).await?)));
        }
        let globals = Globals { database: Some(copy.to_owned()), node: None, ..context.globals.clone() };
        let located = Location::resolve(&globals).map_err(|error| {
            let node = "a node: unix:PATH, HOST:PORT, http://HOST:PORT or https://HOST";
            error.next(format!("name postgres://USER@HOST/DATABASE, sqlite:PATH, or {node}"))
        })?;
        let engine = located.open(&globals, Access::Read).await?;
        Ok(Side::Asked(Box::new(Connection::InProcess(Box::new(engine)))))
    }
}

/// Returns the engine of a database in this process.
fn engine(side: &Side) -> Option<&Engine> {
    match side {
        Side::Asked(connection) => match &**connection {
            Connection::InProcess(engine) => Some(engine),
            Connection::Node(_) => None,
        },
        Side::Web(_) => None,
    }
}

fn of_trees(bisected: Bisected) -> Found {
    let Bisected { heads, common, pairs, first } = bisected;
    let same_until = first.as_ref().map_or(common, |first| first.index);
    Found {
        same: first.is_none(),
        common: same_until,
        sizes: Some(heads.map(|head| head.size)),
        tile_pairs: Some(pairs),
        first: first.map(|first| First::of_leaf(&first)),
    }
}

fn of_log(compared: ByLog) -> Found {
    let ByLog { same, first } = compared;
    let first = first.map(|first| First {
        index: first.index,
        log_seq: first.events.each_ref().map(|event| event.as_ref().map(|event| event.log_seq.0)),
        event_id: first.events.each_ref().map(|event| event.as_ref().map(|event| event.event_id.clone())),
        columns: first.columns,
        sealed_apart: false,
    });
    Found { same: first.is_none(), common: same, sizes: None, tile_pairs: None, first }
}

impl First {
    fn of_leaf(difference: &Difference) -> First {
        let events: [Option<&LoggedEvent>; 2] = difference.seen.each_ref().map(|seen| seen.event.as_ref());
        let columns = match events {
            [Some(one), Some(other)] => bisect::columns(one, other),
            _ => Vec::new(),
        };
        First {
            index: difference.index,
            log_seq: difference.seen.each_ref().map(|seen| seen.log_seq.map(|log_seq| log_seq.0)),
            event_id: events.map(|event| event.map(|event| event.event_id.clone())),
            columns,
            sealed_apart: difference.is_of_salts(),
        }
    }
}

fn text(found: &Found, names: &[String; 2]) -> Page {
    let count = |events: u64| number(i64::try_from(events).unwrap_or(i64::MAX));
    let mut page = match (&found.first, found.sizes) {
        (None, Some([one, other])) if one != other => Page::of(format_args!(
            "the first {} events are the same; {} has {}, {} has {}",
            count(found.common),
            names[0],
            count(one),
            names[1],
            count(other)
        )),
        (None, _) => Page::of(format_args!("{} events, no difference", count(found.common))),
        (Some(first), _) => Page::of(format_args!("the first difference is event number {}, from 0", first.index)),
    };
    if let Some(first) = &found.first {
        for ((name, log_seq), event_id) in names.iter().zip(first.log_seq).zip(&first.event_id) {
            let at = log_seq.map_or("no event there".to_owned(), |log_seq| format!("log_seq {}", number(log_seq)));
            let event = event_id.as_ref().map(|id| format!(", event {id}")).unwrap_or_default();
            page.line(format_args!("  {name}: {at}{event}"));
        }
        if !first.columns.is_empty() {
            page.line(format_args!("  different: {}", first.columns.join(", ")));
        }
        if first.sealed_apart {
            page.ours("  The events are the same: the copies were sealed apart. Add --by-log to compare all events.");
        }
    }
    if let Some(pairs) = found.tile_pairs {
        page.line(format_args!("pairs of tiles read: {pairs}"));
    }
    page
}
