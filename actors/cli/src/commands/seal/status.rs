//! `seal status`: how far the log is sealed, signed and kept outside the database.

use crate::commands::Context;
use crate::globals::parse_tenant;
use crate::output::{duration, number, or_dash};
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{
    AdminError, Command, ExitCode, HealthWord, SealOf, SealScrub, SealStatusReply, SealStatusRequest, SealedTree,
    of_health,
};

/// Tenants whose places are listed one by one below the table.
const PLACES_SHOWN: usize = 5;

/// Show how far the log is sealed, signed and kept outside the database: ok (exit 0), degraded (10) or failed (11)
///
/// The window is the age of the oldest event that no copy of a checkpoint outside the database covers: an edit of such
/// an event would not be noticed.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph seal status --tenant acme --json")]
pub struct Status {
    /// Most tenants, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
    /// Only tenants after this one, by id
    #[arg(long, value_name = "TENANT", value_parser = parse_tenant)]
    after: Option<TenantId>,
}

impl Status {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Status { limit, after } = self;
        let request = SealStatusRequest { tenant: context.globals.tenant.clone(), after, limit: Some(limit) };
        let reply = context.ask(request).await?;
        context.output.reply(&reply, || text(&reply, limit))?;
        let worst = reply.seals.iter().map(|seal| seal.health).max();
        Ok(of_health(worst.unwrap_or(HealthWord::Ok)))
    }
}

fn text(reply: &SealStatusReply, limit: i64) -> Page {
    let mut page = Page::default();
    match &reply.name {
        Some(name) => page.line(format_args!("seal {name}; memory: {}", memory(reply))),
        None => page.ours("Nothing is sealed here: no key is configured (seal_key_file)."),
    }
    if !reply.without_rotation.is_empty() {
        page.line(format_args!(
            "the key was replaced, and not yet on: {}; run {} on each of them, with the file of the new key",
            reply.without_rotation.join(", "),
            Command::about_all("seal key rotate --to FILE --reason R")
        ));
    }
    let sealed = reply.seals.iter().any(|seal| seal.tree.is_some());
    if reply.name.is_none() && !sealed {
        return page;
    }
    let rows = reply.seals.iter().map(row);
    page.table(&["tenant", "state", "#tree", "#sealed", "#unsealed", "window", "#signed", "at"], rows);
    for seal in reply.seals.iter().filter(|seal| seal.tree.is_some()).take(PLACES_SHOWN) {
        details(&mut page, seal);
    }
    for seal in &reply.seals {
        seal.findings.iter().for_each(|found| page.line(format_args!("{}: {}", seal.tenant, found.message)));
    }
    if let (true, Some(last)) = (reply.more, reply.seals.last()) {
        let next = Command::about_all("seal status").with("--after", &last.tenant).with("--limit", limit);
        page.line(format_args!("There are more: {next}"));
    }
    page
}

/// Names the memories outside the database. A memory that has no checkpoint of any log shown remembers nothing.
fn memory(reply: &SealStatusReply) -> String {
    let forgot = |seal: &SealOf| seal.places.iter().all(|place| place.newest.is_none());
    let is_sealed = reply.seals.iter().any(|seal| seal.tree.is_some());
    match reply.memory.join(", ") {
        names if names.is_empty() => "this database only".to_owned(),
        names if is_sealed && reply.seals.iter().all(forgot) => {
            format!("this database only; no checkpoint is in {names}")
        }
        names => names,
    }
}

fn size(size: u64) -> String {
    number(i64::try_from(size).unwrap_or(i64::MAX))
}

fn row(seal: &SealOf) -> Vec<String> {
    let more = if seal.unsealed.more { "+" } else { "" };
    let of_tree = |text: fn(&SealedTree) -> String| seal.tree.as_ref().map_or("-".to_owned(), text);
    vec![
        seal.tenant.to_string(),
        seal.state.as_str().to_owned(),
        of_tree(|tree| tree.tree.to_string()),
        of_tree(|tree| size(tree.size)),
        format!("{}{more}", size(seal.unsealed.events)),
        if seal.window_seconds > 0.0 { duration(seal.window_seconds) } else { "-".to_owned() },
        seal.signed.as_ref().map_or("-".to_owned(), |signed| size(signed.size)),
        or_dash(seal.signed.as_ref().map(|signed| signed.at.as_str())),
    ]
}

/// Adds the name and the root of a tree, its places and its scrubber.
fn details(page: &mut Page, seal: &SealOf) {
    if let Some(tree) = &seal.tree {
        page.line(format_args!("{}: {}, root {}", seal.tenant, tree.origin, tree.root));
    }
    if let Some(since) = &seal.sealed_since {
        page.line(format_args!("  sealed since {since}; events before it are as they were found then"));
    }
    for place in &seal.places {
        let newest = match &place.newest {
            Some(newest) => format!("{} events, {}", size(newest.size), newest.at),
            None => "no checkpoint of this log".to_owned(),
        };
        let fault = place.fault.as_ref().map(|fault| format!("; {fault}")).unwrap_or_default();
        page.line(format_args!("  in {}: {newest}{fault}", place.place));
    }
    if let Some(scrub) = &seal.scrub {
        page.line(format_args!("  {}", scrubbed(scrub)));
    }
}

fn scrubbed(scrub: &SealScrub) -> String {
    let read = size(scrub.read);
    match scrub.round_age_seconds {
        Some(age) => format!("read again in full {} ago; {read} events of this round", duration(age)),
        None => format!("not read again in full yet; {read} events of the first round"),
    }
}

/// Makes the error for a log that has no checkpoint yet.
pub fn not_sealed_yet(tenant: &TenantId, has_key: bool) -> AdminError {
    let next = match has_key {
        true => format!("{} seals and signs at once", Command::of("seal now", tenant)),
        false => "configure a key (seal_key_file): nothing is sealed without one".to_owned(),
    };
    AdminError::new(Category::ProjectionOutOfDate, format!("the log of tenant `{tenant}` is not sealed yet")).next(next)
}
