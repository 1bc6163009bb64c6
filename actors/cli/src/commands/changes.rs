//! `changes`: the recorded requests of operators.

use super::Context;
use crate::output::or_dash;
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{AdminError, ChangesRequest, Command, ExitCode};
use decisiongraph_store::{Change, NewChange};

/// List the changes that operators requested: who, when, why, and the outcome; latest first
///
/// Pause, resume, retry, skip, rebuild, cancel and resumed runs, cordon, drain, uncordon and forget. Never deleted.
/// `by` is the name that the client gave, followed by the proof of its identity: the user id at the other end of the
/// socket, the certificate, or the secret.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph changes --tenant acme --limit 20")]
pub struct Changes {
    /// Only changes before this one, by its number
    #[arg(long, value_name = "N")]
    before: Option<i64>,
    /// Most entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
}

impl Changes {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Changes { before, limit } = self;
        let tenant = context.globals.tenant.clone();
        let request = ChangesRequest { tenant: tenant.clone(), before, limit };
        context
            .show(request, |changes| {
                let mut page = Page::default();
                let headings = ["#change", "at", "what", "about", "by", "through", "reason", "outcome"];
                page.table(&headings, changes.changes.iter().map(row));
                if let (true, Some(last)) = (changes.more, changes.changes.last()) {
                    let next = match &tenant {
                        Some(tenant) => Command::of("changes", tenant),
                        None => Command::about_all("changes"),
                    };
                    let next = next.with("--before", last.change_id).with("--limit", limit);
                    page.line(format_args!("There are more: {next}"));
                }
                page
            })
            .await
    }
}

fn row(change: &Change) -> Vec<String> {
    let NewChange { what, tenant, projection, subject, by, through, reason } = &change.asked;
    let scope = tenant.as_ref().map(|tenant| match projection {
        Some(projection) => format!("{tenant}/{projection}"),
        None => format!("{tenant}/all"),
    });
    let about: Vec<String> = scope.into_iter().chain(subject.clone()).collect();
    vec![
        change.change_id.to_string(),
        change.at.clone(),
        what.clone(),
        or_dash(Some(about.join(", ").as_str()).filter(|about| !about.is_empty())),
        by.clone(),
        through.clone(),
        or_dash(Some(reason.as_str()).filter(|reason| !reason.is_empty())),
        or_dash(change.outcome.as_deref()),
    ]
}
