//! `changes`: the recorded requests of operators.

use super::Context;
use crate::output::or_dash;
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{AdminError, ChangesRequest, Command, ExitCode};
use decisiongraph_store::{Change, NewChange};

/// List the changes that operators requested: who, when, why, and the outcome; latest first
///
/// Every request for a change but the appends: jobs with their cancels, pause, resume, retry, skip, cordon, drain,
/// uncordon and forget; refused ones, too. Never deleted. `by` is the name that the client gave, followed by the proof
/// of its identity: the user id at the other end of the socket, the certificate, the secret, the role of the database,
/// or the name in the identities file.
///
/// A change is recorded before it is begun, and its end after it. `no end` means that its process died in between.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph changes --tenant acme --limit 20\n  decisiongraph changes --since 2026-01-31T00:00:00Z --outcome refused"
)]
pub struct Changes {
    /// Only changes before this one, by its number
    #[arg(long, value_name = "N")]
    before: Option<i64>,
    /// Only changes since this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only changes of this identity: the proof alone, such as "uid 1000"
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// Only changes of this kind, such as pause
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// Only changes with this outcome: accepted, refused, failed, or none (no end is recorded)
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// Most entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
}

impl Changes {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Changes { before, since, identity, action, outcome, limit } = self;
        let request =
            ChangesRequest { tenant: context.globals.tenant.clone(), before, limit, since, identity, action, outcome };
        let asked = request.clone();
        context
            .show(request, |changes| {
                let mut page = Page::default();
                let headings = ["#change", "at", "what", "about", "by", "through", "reason", "outcome"];
                page.table(&headings, changes.changes.iter().map(row));
                if let (true, Some(last)) = (changes.more, changes.changes.last()) {
                    page.line(format_args!("There are more: {}", next(&asked, last.change_id)));
                }
                page
            })
            .await
    }
}

/// Makes the command for the page behind this change.
fn next(asked: &ChangesRequest, before: i64) -> Command {
    let next = match &asked.tenant {
        Some(tenant) => Command::of("changes", tenant),
        None => Command::about_all("changes"),
    };
    let chosen = [
        ("--since", &asked.since),
        ("--identity", &asked.identity),
        ("--action", &asked.action),
        ("--outcome", &asked.outcome),
    ];
    let next = chosen.into_iter().fold(next, |next, (flag, value)| match value {
        Some(value) => next.with(flag, value),
        None => next,
    });
    next.with("--before", before).with("--limit", asked.limit)
}

fn row(change: &Change) -> Vec<String> {
    let NewChange { what, tenant, projection, subject, through, reason, .. } = &change.asked;
    let scope = tenant.as_ref().map(|tenant| match projection {
        Some(projection) => format!("{tenant}/{projection}"),
        None => format!("{tenant}/all"),
    });
    let about: Vec<String> = scope.into_iter().chain(subject.clone()).collect();
    let outcome = match &change.outcome {
        Some(outcome) => outcome,
        None if change.lost => "no end: its process died before it",
        None => "under way",
    };
    vec![
        change.change_id.to_string(),
        change.at.clone(),
        what.clone(),
        or_dash(Some(about.join(", ").as_str()).filter(|about| !about.is_empty())),
        change.by.clone(),
        through.clone(),
        or_dash(Some(reason.as_str()).filter(|reason| !reason.is_empty())),
        outcome.to_owned(),
    ]
}
