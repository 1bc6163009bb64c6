//! `bisect`: the first event in which two copies of a sealed log differ.

use super::Context;
use crate::globals::Globals;
use crate::interrupt;
use crate::output::number;
use crate::page::Page;
use crate::session::{Access, Location};
use clap::Args;
use decisiongraph_engine::Engine;
use decisiongraph_engine::seal::bisect::{self, Bisected, ByLog, Difference, StoredCopy};
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_store::LoggedEvent;
use serde::Serialize;

/// Find the first event in which two copies of a sealed log differ
///
/// For a replica, a restored backup, a copied file. Their trees are compared from the root down, so few pairs of tiles
/// are read, whatever the length of the log. Copies that were sealed apart, such as an export and its import, have
/// other salts: `--by-log` compares all events. The exit code is 3 when there is a difference.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph bisect postgres://db-1/decisions postgres://db-2/decisions
  decisiongraph bisect sqlite:old.db sqlite:new.db --by-log")]
pub struct Bisect {
    /// Database of the one copy
    #[arg(value_name = "URL_A")]
    one: String,
    /// Database of the other copy
    #[arg(value_name = "URL_B")]
    other: String,
    /// Compare the events of both logs, whatever their seals: reads all of them
    #[arg(long)]
    by_log: bool,
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
        let (one, other) = (open(context, &self.one).await?, open(context, &self.other).await?);
        let tenant = context.globals.tenant.clone().unwrap_or_default();
        let (left, right) = (one.store().snapshot().await?, other.store().snapshot().await?);
        let found = if self.by_log {
            of_log(bisect::by_log(&*left, &*right, &tenant).await?)
        } else {
            let (left, right) = (StoredCopy::open(&*left, &tenant).await?, StoredCopy::open(&*right, &tenant).await?);
            of_trees(bisect::bisect(&left, &right).await?)
        };
        if context.output.json {
            context.output.json(&found)?;
        } else {
            let names = [one.store().address(), other.store().address()];
            context.output.page(&text(&found, &names))?;
        }
        Ok(if found.same { ExitCode::OK } else { ExitCode::DRIFT })
    }
}

/// Opens one of the databases.
async fn open(context: &Context, url: &str) -> Result<Engine, AdminError> {
    let globals = Globals { database: Some(url.to_owned()), ..context.globals.clone() };
    Location::resolve(&globals)?.open(&globals, Access::Read).await
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
