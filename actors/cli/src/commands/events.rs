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

/// Show events of the log in order
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph events --since-log-seq 100 --until-log-seq 200 --json")]
pub struct Events {
    /// Only events after this position (exclusive)
    #[arg(long, visible_alias = "since", value_name = "LOG_SEQ", default_value_t = 0, value_parser = parse_number)]
    since_log_seq: i64,
    /// Only events up to this position (inclusive) [default: the end]
    #[arg(long, visible_alias = "until", value_name = "LOG_SEQ", value_parser = parse_number)]
    until_log_seq: Option<i64>,
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
                let last = events.events.last().map_or(0, |event| event.log_seq.0);
                page.line(format_args!("There are more: --since-log-seq {last}"));
            }
            page
        })?;
        Unreadable::of(&events.tenant, &events.events).end()
    }
}
