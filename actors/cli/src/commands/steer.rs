//! `pause`, `resume`, `retry` and `skip`: decisions of an operator about a scope.

use super::tenants::AllTenants;
use super::{Context, status};
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{
    AdminError, Command, ExitCode, PauseRequest, ResumeRequest, RetryRequest, SkipRequest, SteerReply,
};
use decisiongraph_store::Skip as Record;

/// Stop applying events to a projection until `resume`
///
/// Durable: it survives restarts and changes of owner. Queries are still answered; the rows fall behind the log. The
/// first reason stays.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph pause --projection trace_summary --reason \"mapping under review\"")]
pub struct Pause {
    /// Reason, shown to other operators
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    reason: String,
    #[command(flatten)]
    all: AllTenants,
}

impl Pause {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let make =
            |tenant| PauseRequest { tenant, projection: context.globals.projection(), reason: self.reason.clone() };
        context.show_over(self.all, make, text).await
    }
}

/// The flag of changes that may have a reason.
#[derive(Args, Clone)]
pub struct Because {
    /// Reason, shown by `decisiongraph changes`
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Continue what `pause` stopped
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph resume --projection trace_summary --reason \"mapping fixed\"")]
pub struct Resume {
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    all: AllTenants,
}

impl Resume {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Because { reason } = self.because;
        let make = |tenant| ResumeRequest { tenant, projection: context.globals.projection(), reason: reason.clone() };
        context.show_over(self.all, make, text).await
    }
}

/// Retry projections now, whatever stopped them
///
/// A node retries automatically from time to time; this command does so at once. Without a node it is a catch-up.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph retry --tenant acme --projection trace_summary")]
pub struct Retry {
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    all: AllTenants,
}

impl Retry {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Because { reason } = self.because;
        let make = |tenant| RetryRequest { tenant, projection: context.globals.projection(), reason: reason.clone() };
        context.job_over(self.all, false, make).await
    }
}

fn text(steered: &SteerReply) -> Page {
    if steered.scopes.is_empty() {
        return Page::of("No such scope yet: nothing was paused.");
    }
    let rows = steered.scopes.iter().map(|scope| {
        let paused = scope.paused.as_ref();
        vec![
            scope.tenant.to_string(),
            scope.projection.clone(),
            number(scope.cursor.0),
            paused.map_or("no".to_owned(), |paused| format!("since {}", paused.at)),
            paused.map_or("-".to_owned(), |paused| paused.by.clone()),
            paused.map_or("-".to_owned(), |paused| paused.reason.clone()),
        ]
    });
    let mut page = Page::default();
    page.table(&["tenant", "projection", "#cursor", "paused", "by", "reason"], rows);
    page
}

/// Leave the event of an open failure out of its projection
///
/// The event is neither checked nor projected, counts as its trace's predecessor, and is left out by rebuilds too. The
/// rows then deviate from the reference until a rebuild without the skip.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph skip 7 --reason \"duplicate of ticket 4711\"\n  decisiongraph skip 7 --revoke"
)]
pub struct Skip {
    /// The failure's id, from `decisiongraph failures`
    #[arg(value_name = "ID")]
    failure_id: i64,
    /// Reason, kept with the skip
    #[arg(long, value_name = "TEXT", required_unless_present = "revoke")]
    reason: Option<String>,
    /// End the skip; rows that were written past the event stay until a rebuild
    #[arg(long)]
    revoke: bool,
}

impl Skip {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let reason = self.reason.unwrap_or_default();
        let (failure_id, revoke, of) = (self.failure_id, self.revoke, status::filter(context));
        let request = SkipRequest { failure_id, reason, revoke, of };
        context.show(request, skip_text).await
    }
}

fn skip_text(skip: &Record) -> Page {
    let command = |words: &str| Command::of_scope(words, &skip.tenant, &skip.projection);
    let next = match &skip.revoked_at {
        Some(at) => {
            format!("revoked {at}; {} writes the rows with the event", command("rebuild"))
        }
        None => format!("in force from the next batch on; {} passes the event", command("catch-up")),
    };
    let Record { event_id, trace_id, tenant, projection, failure_id, reason, skipped_by, skipped_at, .. } = skip;
    let log_seq = number(skip.log_seq.0);
    let mut page = Page::of(format_args!(
        "skip of log_seq {log_seq} (event {event_id}, trace {trace_id}) in {tenant}/{projection}"
    ));
    page.line(format_args!("  because    failure {failure_id}: {reason}"));
    page.line(format_args!("  by         {skipped_by}, {skipped_at}"));
    page.line(format_args!("  next       {next}"));
    page
}
