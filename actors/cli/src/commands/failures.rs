//! `failures`, `failure` and `skips`: poison events, and events that are left out.

use super::{Context, status};
use crate::output::{number, or_dash};
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::Category;
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::report::FailureReplay;
use decisiongraph_protocol::{
    AdminError, Command, ExitCode, FailureRequest, FailuresReply, FailuresRequest, ListRequest,
};
use decisiongraph_store::{Failure as Record, Skip};
use std::fmt::Display;

/// List events that a projection cannot apply
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph failures --all --tenant acme")]
pub struct Failures {
    /// Also list resolved failures
    #[arg(long)]
    all: bool,
    /// Most entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
    /// Only failures older than this one, by id
    #[arg(long, value_name = "ID", value_parser = parse_number)]
    after: Option<i64>,
}

impl Failures {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = list(context, !self.all, self.limit, self.after.map(|id| id.to_string()));
        context
            .show(FailuresRequest(request), |failures| {
                let rows = failures.failures.iter().map(|failure| {
                    vec![
                        failure.failure_id.to_string(),
                        format!("{}/{}", failure.tenant, failure.projection),
                        number(failure.log_seq.0),
                        failure.event_id.clone(),
                        failure.category.to_string(),
                        failure.attempts.to_string(),
                        failure.last_seen_at.clone(),
                        or_dash(failure.resolved_at.as_deref()),
                    ]
                });
                let mut page = Page::default();
                let headings = ["#id", "scope", "#log_seq", "event", "category", "#attempts", "last seen", "resolved"];
                page.table(&headings, rows);
                more(&mut page, failures.failures.last().filter(|_| failures.more).map(|last| last.failure_id));
                page
            })
            .await
    }
}

/// Adds a line below a list that continues after the entry with this id.
pub fn more(page: &mut Page, last: Option<impl Display>) {
    if let Some(last) = last {
        page.line(format_args!("There are more: --after {last}"));
    }
}

/// List events that are left out of projections: who decided it, when and why
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph skips --all --tenant acme")]
pub struct Skips {
    /// Also list revoked skips
    #[arg(long)]
    all: bool,
    /// Most entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
    /// Only skips older than this one, by id
    #[arg(long, value_name = "ID", value_parser = parse_number)]
    after: Option<i64>,
}

impl Skips {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request =
            ListRequest { skips: true, ..list(context, !self.all, self.limit, self.after.map(|id| id.to_string())) };
        let reply = context.ask(FailuresRequest(request)).await?;
        let FailuresReply { skips: Some(skips), more, .. } = &reply else {
            return Err(AdminError::new(Category::VersionMismatch, "the node's version cannot list skips")
                .next("upgrade it, or ask the database directly with --database"));
        };
        context.output.reply(&reply, || {
            let rows = skips.iter().map(|skip| {
                vec![
                    skip.skip_id.to_string(),
                    skip.failure_id.to_string(),
                    format!("{}/{}", skip.tenant, skip.projection),
                    number(skip.log_seq.0),
                    skip.event_id.clone(),
                    skip.skipped_by.clone(),
                    skip.skipped_at.clone(),
                    or_dash(skip.revoked_at.as_deref()),
                    skip.reason.clone(),
                ]
            });
            let mut page = Page::default();
            page.table(&["#id", "#failure", "scope", "#log_seq", "event", "by", "since", "revoked", "reason"], rows);
            self::more(&mut page, skips.last().filter(|_| *more).map(|last| last.skip_id));
            page
        })?;
        Ok(ExitCode::OK)
    }
}

/// Requests the list that the global flags name.
pub fn list(context: &Context, open_only: bool, limit: i64, after: Option<String>) -> ListRequest {
    let (tenant, projection) = (context.globals.tenant.clone(), context.globals.projection());
    ListRequest { tenant, projection, open_only, limit, after, skips: false }
}

/// Show one failure: the event, the error, what to do
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph failure 7 --replay")]
pub struct Failure {
    /// Id of the failure, from `decisiongraph failures`
    #[arg(value_name = "ID")]
    failure_id: i64,
    /// Fold its batch again, offline, and report the result; changes nothing
    #[arg(long)]
    replay: bool,
}

impl Failure {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Failure { failure_id, replay } = self;
        let request = FailureRequest { failure_id, replay, of: status::filter(context) };
        context
            .show(request, |failure| {
                let mut page = text(&failure.failure, failure.skip.as_deref());
                if let Some(replay) = &failure.replay {
                    page.page(replayed(&failure.failure, replay));
                }
                page
            })
            .await
    }
}

fn catch_up(failure: &Record) -> Command {
    Command::of_scope("catch-up", &failure.tenant, &failure.projection)
}

fn skip(failure: &Record) -> Command {
    Command::of(&format!("skip {} --reason 'say why'", failure.failure_id), &failure.tenant)
}

fn replayed(failure: &Record, replay: &FailureReplay) -> Page {
    let met = match (replay.log_seq, replay.category) {
        (Some(log_seq), Some(category)) => {
            let message = replay.message.as_deref().unwrap_or_default();
            format!("log_seq {} fails: {category}: {message}", number(log_seq.0))
        }
        _ => "the batch now applies without a failure".to_owned(),
    };
    let verdict = match (replay.reproduced, failure.resolved_at.is_some()) {
        (true, false) => format!("reproduced; repair its cause, or leave the event out with {}", skip(failure)),
        (true, true) => "reproduced".to_owned(),
        (false, false) => format!("not reproduced; {} retries it", catch_up(failure)),
        (false, true) => "not reproduced".to_owned(),
    };
    let digest = if replay.digest_before_matches { "is the recorded one" } else { "is NOT the recorded one" };
    let mut page = Page::of(format_args!("replay     {verdict}"));
    page.line(format_args!("  outcome    {met}"));
    page.line(format_args!("  state      from the {}; the digest before the batch {digest}", replay.source));
    page.line(format_args!("  read       {} events", number(replay.events)));
    page
}

fn text(failure: &Record, skipped: Option<&Skip>) -> Page {
    let state = match &failure.resolved_at {
        Some(at) => format!("resolved {at}"),
        None => "open".to_owned(),
    };
    let log_seq = number(failure.log_seq.0);
    let (from, to) = (number(failure.batch_from.0), number(failure.batch_to.0));
    let next = match skipped {
        Some(_) => format!(
            "nothing, if it is meant to be left out; else repair its row, then apply it with {} and {}",
            Command::of_scope(&format!("skip {} --revoke", failure.failure_id), &failure.tenant, &failure.projection),
            Command::of_scope("rebuild", &failure.tenant, &failure.projection)
        ),
        None if failure.resolved_at.is_some() => "nothing: a later catch-up passed it".to_owned(),
        None => format!(
            "restore the event's row from a backup or an export, then run {}, which resolves the failure; or leave the event out with {}",
            catch_up(failure),
            skip(failure)
        ),
    };
    let Record { event_id, event_type, trace_id, category, message, digest_before, .. } = failure;
    let Record { attempts, first_seen_at, last_seen_at, .. } = failure;
    let mut page = Page::of(format_args!("failure {} ({state})", failure.failure_id));
    page.line(format_args!("  scope      {}/{}", failure.tenant, failure.projection));
    page.line(format_args!("  event      {event_id} ({event_type}) at log_seq {log_seq}, trace {trace_id}"));
    page.line(format_args!("  category   {category}"));
    page.line(format_args!("  message    {message}"));
    page.line(format_args!("  batch      {from} to {to}; digest before it {digest_before}"));
    page.line(format_args!("  seen       {attempts} times, first {first_seen_at}, last {last_seen_at}"));
    if let Some(Skip { skipped_by, skipped_at, reason, .. }) = skipped {
        page.line(format_args!("  skipped    by {skipped_by}, {skipped_at}: {reason}; the rows do not include it"));
    }
    page.line(format_args!("  next       {next}"));
    page
}
