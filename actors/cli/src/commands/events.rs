//! `events`: a range of the log.

use super::Context;
use super::trace::gist;
use super::unreadable::Unreadable;
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::{AdminError, EventsRequest, ExitCode};
use decisiongraph_store::EventFilter;

/// Show events of the log in order, up to the safe mark
///
/// A filter looks at up to 20,000 events per page, so a page can be short or empty although more events follow.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph events --since-log-seq 100 --until-log-seq 200 --json")]
pub struct Events {
    /// Only events after this position (exclusive)
    #[arg(long, visible_alias = "since", value_name = "LOG_SEQ", default_value_t = 0, value_parser = parse_number)]
    since_log_seq: i64,
    /// Only events up to this position (inclusive) [default: the end]
    #[arg(long, visible_alias = "until", value_name = "LOG_SEQ", value_parser = parse_number)]
    until_log_seq: Option<i64>,
    /// Only the event with this id
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Only events of this type; can be repeated
    #[arg(long = "event-type", value_name = "TYPE")]
    event_types: Vec<String>,
    /// Only events of this trace
    #[arg(long, value_name = "ID")]
    trace_id: Option<String>,
    /// Only events of actors of this type
    #[arg(long, value_name = "TYPE")]
    actor_type: Option<String>,
    /// Only events of this actor; needs --actor-type
    #[arg(long, value_name = "ID", requires = "actor_type")]
    actor_id: Option<String>,
    /// Most events, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_number)]
    limit: i64,
}

impl Events {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = EventsRequest {
            tenant: context.globals.tenant.clone(),
            since_log_seq: LogSeq(self.since_log_seq),
            until_log_seq: self.until_log_seq.map(LogSeq),
            limit: self.limit,
            event_id: self.event_id,
            filter: EventFilter {
                trace_id: self.trace_id,
                event_types: self.event_types,
                actor_type: self.actor_type,
                actor_id: self.actor_id,
            },
        };
        let events = &context.ask(request).await?;
        context.output.reply(events, || {
            let rows = events.events.iter().map(|event| {
                vec![
                    number(event.log_seq.0),
                    event.trace_id.clone(),
                    event.trace_seq.to_string(),
                    event.occurred_at.clone(),
                    event.event_type.clone(),
                    gist(event),
                ]
            });
            let mut page = Page::default();
            page.table(&["#log_seq", "trace", "#seq", "occurred_at", "event", "what"], rows);
            if events.more {
                // A node of the release before says no position.
                let last = events.events.last().map_or(events.scanned_to, |event| event.log_seq.max(events.scanned_to));
                page.line(format_args!("There are more: --since-log-seq {last}"));
            }
            page
        })?;
        Unreadable::of(&events.tenant, &events.events).end()
    }
}
