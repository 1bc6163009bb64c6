//! `failures` and `failure`: poison events.

use super::{Context, unexpected};
use crate::output::{number, or_dash, shown, table};
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode, ListRequest};
use decisiongraph_actors::engine::replay_failure::FailureReplay;
use decisiongraph_store::Failure as Record;

/// List events that a projection cannot take
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph failures --all --tenant acme")]
pub struct Failures {
    /// Resolved ones too
    #[arg(long)]
    all: bool,
    /// Most entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
}

impl Failures {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = list(context, !self.all, self.limit);
        let reply = context.ask(AdminRequest::Failures(request)).await?;
        let AdminReply::Failures(failures) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || {
            let rows = failures
                .failures
                .iter()
                .map(|failure| {
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
                })
                .collect();
            table(&["#id", "scope", "#log_seq", "event", "category", "#attempts", "last seen", "resolved"], rows)
        })?;
        Ok(ExitCode::OK)
    }
}

/// The list that the global flags name.
pub fn list(context: &Context, open_only: bool, limit: i64) -> ListRequest {
    ListRequest { tenant: context.globals.tenant.clone(), projection: context.globals.projection(), open_only, limit }
}

/// Show one failure: the event, the error, what to do
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph failure 7 --replay")]
pub struct Failure {
    /// Its id, from `decisiongraph failures`
    #[arg(value_name = "ID")]
    failure_id: i64,
    /// Fold its batch again, offline, and tell what happens; changes nothing
    #[arg(long)]
    replay: bool,
}

impl Failure {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let reply = context.ask(AdminRequest::Failure { failure_id: self.failure_id, replay: self.replay }).await?;
        let AdminReply::Failure(failure) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || {
            let replay = failure.replay.as_ref().map(|replay| replayed(&failure.failure, replay));
            text(&failure.failure) + &replay.unwrap_or_default()
        })?;
        Ok(ExitCode::OK)
    }
}

fn replayed(failure: &Record, replay: &FailureReplay) -> String {
    let met = match (replay.log_seq, replay.category) {
        (Some(log_seq), Some(category)) => {
            let message = replay.message.as_deref().map(shown).unwrap_or_default();
            format!("log_seq {log_seq} fails: {category}: {message}")
        }
        _ => "the batch is sound now".to_owned(),
    };
    let verdict = match (replay.reproduced, failure.resolved_at.is_some()) {
        (true, false) => "reproduced; mend its cause, or `decisiongraph skip` leaves the event out",
        (true, true) => "reproduced",
        (false, false) => "not reproduced; `decisiongraph catch-up` tries it again",
        (false, true) => "not reproduced",
    };
    format!(
        "\nreplay     {verdict}\n  met        {met}\n  state      from the {}; the digest before the batch {}\n  read       {} events",
        replay.source,
        if replay.digest_before_matches { "is the recorded one" } else { "is NOT the recorded one" },
        number(replay.events),
    )
}

fn text(failure: &Record) -> String {
    let state = match &failure.resolved_at {
        Some(at) => format!("resolved {at}"),
        None => "open".to_owned(),
    };
    format!(
        "failure {} ({state})\n  scope      {}/{}\n  event      {} ({}) at log_seq {}, trace {}\n  category   {}\n  message    {}\n  \
         batch      {} to {}; digest before it {}\n  met        {} times, first {}, last {}\n  next       {}",
        failure.failure_id,
        shown(failure.tenant.as_str()),
        failure.projection,
        shown(&failure.event_id),
        shown(&failure.event_type),
        failure.log_seq,
        shown(&failure.trace_id),
        failure.category,
        shown(&failure.message),
        failure.batch_from,
        failure.batch_to,
        failure.digest_before,
        failure.attempts,
        failure.first_seen_at,
        failure.last_seen_at,
        if failure.resolved_at.is_some() {
            "nothing: a later catch-up passed it"
        } else {
            "restore the event's row from a backup or an export, then `decisiongraph catch-up`: the failure resolves itself; or leave it out with `decisiongraph skip`"
        }
    )
}
