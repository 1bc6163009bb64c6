//! `trace`: one decision from start to end.

use super::Context;
use super::read_flags::{FreshnessFlags, stale};
use super::unreadable::Unreadable;
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_engine::queries::EventRecord;
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::json_reader::parse;
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, ExitCode, TraceReply, TraceRequest};

/// Show a decision trace: its summary and its events
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph trace discount-acme-2026q3")]
pub struct Trace {
    /// Id of the trace
    #[arg(value_name = "ID")]
    trace_id: String,
    /// Only events after this log position
    #[arg(long, value_name = "LOG_SEQ", default_value_t = 0, value_parser = parse_number)]
    after: i64,
    /// Most events, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: i64,
    #[command(flatten)]
    freshness: FreshnessFlags,
}

impl Trace {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let trace_id = self.trace_id.clone();
        let request = TraceRequest {
            tenant: context.globals.tenant.clone(),
            trace_id: self.trace_id,
            after: LogSeq(self.after),
            limit: self.limit,
            freshness: self.freshness.freshness(),
        };
        let trace = &context.ask(request).await?;
        context.output.reply(trace, || text(&trace_id, trace))?;
        Unreadable::of(&trace.tenant, &trace.events).end()
    }
}

/// Renders the trace for people.
pub fn text(trace_id: &str, trace: &TraceReply) -> Page {
    let mut page = stale(trace.stale.as_ref());
    if let Some(summary) = &trace.summary {
        let entity =
            [&summary.primary_entity_type, &summary.primary_entity_id].map(|part| part.as_deref().unwrap_or("?"));
        let ended = match (&summary.outcome, &summary.finished_at) {
            (Some(outcome), Some(at)) => format!("{outcome}, {at}"),
            _ => "still running".to_owned(),
        };
        page.line(format_args!("trace {}: {}", shell_word(trace_id), summary.title));
        page.line(format_args!("  workflow {}, about {}:{}", summary.workflow, entity[0], entity[1]));
        page.line(format_args!("  started {}, finished: {ended}", summary.started_at));
    }
    let rows = trace.events.iter().map(|event| {
        vec![
            number(event.log_seq.0),
            event.trace_seq.to_string(),
            event.occurred_at.clone(),
            event.event_type.clone(),
            format!("{}:{}", event.actor.actor_type, event.actor.actor_id),
            gist(event),
        ]
    });
    page.table(&["#log_seq", "#seq", "occurred_at", "event", "actor", "what"], rows);
    if trace.more {
        let last = trace.events.last().map_or(0, |event| event.log_seq.0);
        page.line(format_args!("There are more: --after {last}"));
    }
    page
}

/// Returns the most telling text of a payload.
pub fn gist(event: &EventRecord) -> String {
    let Ok(parsed) = parse(&event.payload) else { return "(payload is not JSON)".to_owned() };
    let payload = parsed.value;
    let at = |path: &[&str]| {
        let mut value = &payload;
        for key in path {
            value = value.get(key)?;
        }
        match value {
            Json::Str(text) => Some(text.to_string()),
            _ => None,
        }
    };
    let text = |path: &[&str]| at(path).unwrap_or_default();
    match event.event_type.as_str() {
        "TraceStarted" => text(&["title"]),
        "InputObserved" => format!("{} {}", text(&["source", "system"]), text(&["source", "object_id"])),
        "EntityObserved" => format!("{}:{}", text(&["entity", "entity_type"]), text(&["entity", "entity_id"])),
        "PolicyEvaluated" => {
            format!(
                "{} {}: {}",
                text(&["policy", "policy_id"]),
                text(&["policy", "policy_version"]),
                text(&["decision"])
            )
        }
        "ExceptionRequested" => format!("{}: {}", text(&["exception_id"]), text(&["reason"])),
        "ApprovalRecorded" => format!("{} {}", text(&["decision"]), text(&["subject", "subject_id"])),
        "PrecedentCited" => format!("{}: {}", text(&["cited_trace_id"]), text(&["reason"])),
        "ActionProposed" => format!("{} in {}", text(&["action_type"]), text(&["target_system"])),
        "ActionCommitted" => format!("{}: {}", text(&["action_id"]), text(&["status"])),
        "TraceFinished" => text(&["outcome"]),
        _ => String::new(),
    }
}
