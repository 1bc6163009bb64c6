//! `traces`: the list of traces.

use super::Context;
use super::read_flags::{FreshnessFlags, stale};
use crate::output::{number, or_dash};
use crate::page::Page;
use clap::{Args, ValueEnum};
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::{
    AdminError, ExitCode, ReadRequest, TraceEntry, TraceFilter, TraceOrder, TraceQuery, TraceStatus, TracesReply,
};

/// List traces, the latest started first
///
/// A filter looks at up to 20,000 traces per page, so a page can be short or empty although more traces follow.
#[derive(Args)]
#[command(after_help = "\
Examples:
  decisiongraph traces --status open
  decisiongraph traces --entity-type account --entity-id acme --order finished")]
pub struct Traces {
    /// Only open, or only finished traces
    #[arg(long, value_name = "STATUS")]
    status: Option<Status>,
    /// Only traces of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// success, failure or abandoned
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// About a primary entity of this type
    #[arg(long, value_name = "TYPE")]
    entity_type: Option<String>,
    /// About this primary entity; needs --entity-type
    #[arg(long, value_name = "ID", requires = "entity_type")]
    entity_id: Option<String>,
    /// Only traces with an edge that touches this node of the graph, such as policy:ID:VERSION
    #[arg(long, value_name = "NODE")]
    involves: Option<String>,
    /// Started by an actor of this type
    #[arg(long, value_name = "TYPE")]
    actor_type: Option<String>,
    /// Started by this actor; needs --actor-type
    #[arg(long, value_name = "ID", requires = "actor_type")]
    actor_id: Option<String>,
    /// With at least one event of this type; can be repeated
    #[arg(long = "event-type", value_name = "TYPE")]
    event_types: Vec<String>,
    /// Started with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Started at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    occurred_since: Option<String>,
    /// Started at this time (RFC 3339) or earlier
    #[arg(long, value_name = "TIME")]
    occurred_until: Option<String>,
    /// With a title that begins with this text
    #[arg(long, value_name = "TEXT")]
    title_prefix: Option<String>,
    /// With an id that begins with this text
    #[arg(long, value_name = "TEXT")]
    trace_id_prefix: Option<String>,
    /// Order: by start, or by finish
    #[arg(long, value_name = "ORDER", default_value = "started")]
    order: Order,
    /// Only traces behind this place, from the page before
    #[arg(long, value_name = "LOG_SEQ", value_parser = parse_number)]
    before: Option<i64>,
    /// Most traces, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 50, allow_negative_numbers = true)]
    limit: i64,
    #[command(flatten)]
    freshness: FreshnessFlags,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Open,
    Finished,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Started,
    Finished,
}

impl Traces {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let query = TraceQuery {
            order: match self.order {
                Order::Started => TraceOrder::Started,
                Order::Finished => TraceOrder::Finished,
            },
            before: self.before.map(LogSeq),
            limit: self.limit,
            filter: TraceFilter {
                status: self.status.map(|status| match status {
                    Status::Open => TraceStatus::Open,
                    Status::Finished => TraceStatus::Finished,
                }),
                workflow: self.workflow,
                outcome: self.outcome,
                entity_type: self.entity_type,
                entity_id: self.entity_id,
                involves: self.involves,
                actor_type: self.actor_type,
                actor_id: self.actor_id,
                event_types: self.event_types,
                tag: self.tag,
                occurred_since: self.occurred_since,
                occurred_until: self.occurred_until,
                title_prefix: self.title_prefix,
                trace_id_prefix: self.trace_id_prefix,
            },
        };
        let (tenant, freshness) = (context.globals.tenant.clone(), self.freshness.freshness());
        context.show(ReadRequest { tenant, freshness, query }, text).await
    }
}

fn text(list: &TracesReply) -> Page {
    let mut page = stale(list.stale.as_ref());
    let headings = ["trace", "title", "status", "outcome", "about", "#started", "#events", "last event", "at"];
    page.table(&headings, list.answer.traces.iter().map(row));
    if let Some(next) = list.answer.next {
        page.line(format_args!("There are more: --before {next}"));
    }
    page
}

fn row(entry: &TraceEntry) -> Vec<String> {
    let TraceEntry { summary, status, started_log_seq, events_stored, last_event } = entry;
    let about = match (&summary.primary_entity_type, &summary.primary_entity_id) {
        (Some(kind), Some(id)) => format!("{kind}:{id}"),
        _ => "-".to_owned(),
    };
    vec![
        summary.trace_id.clone(),
        summary.title.clone(),
        status.as_str().to_owned(),
        or_dash(summary.outcome.as_deref()),
        about,
        number(started_log_seq.0),
        number(*events_stored),
        last_event.event_type.clone(),
        last_event.occurred_at.clone(),
    ]
}
