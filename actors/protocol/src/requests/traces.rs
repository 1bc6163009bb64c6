//! The list of traces.

use super::reads::{ReadReply, ReadRequest};
use crate::query::Summary;
use crate::request::{Facts, FromDatabase, Request, Right, Subject};
use decisiongraph_projections::{Category, LogSeq, Refusal, rfc3339};
use serde::{Deserialize, Serialize};

/// Most traces per page.
pub const TRACES_PAGE_MAX: i64 = 500;
/// Most traces that a filter looks at for one page.
pub const TRACES_SCANNED_MAX: usize = 20_000;

/// The list of traces, latest first.
pub type TracesRequest = ReadRequest<TraceQuery>;

impl Request for TracesRequest {
    const FACTS: Facts = Facts::reads("traces", Some(Right::Read)).since(4).large();
    type Reply = TracesReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// Query for traces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// Order of the list.
    #[serde(default)]
    pub order: TraceOrder,
    /// Place behind which the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<LogSeq>,
    /// Most traces per page, 1 to [`TRACES_PAGE_MAX`].
    pub limit: i64,
    /// Choice of traces.
    #[serde(flatten)]
    pub filter: TraceFilter,
}

impl TraceQuery {
    /// Checks that the arguments fit together.
    ///
    /// # Errors
    /// `invalid_argument`: limit out of range, an id without its type, a bound that is no time.
    pub fn validate(&self) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(Category::InvalidArgument, message));
        if !(1..=TRACES_PAGE_MAX).contains(&self.limit) {
            return refuse(format!("limit must be 1 to {TRACES_PAGE_MAX}, not {}", self.limit));
        }
        let TraceFilter { entity_type, entity_id, actor_type, actor_id, occurred_since, occurred_until, .. } =
            &self.filter;
        for (id, of, name) in [(entity_id, entity_type, "entity"), (actor_id, actor_type, "actor")] {
            if id.is_some() && of.is_none() {
                return refuse(format!("{name}_id needs {name}_type"));
            }
        }
        for (time, name) in [(occurred_since, "occurred_since"), (occurred_until, "occurred_until")] {
            if time.as_deref().is_some_and(|time| !rfc3339::is_time(time)) {
                return refuse(format!("{name} must be a time of RFC 3339, such as 2026-01-31T09:30:00Z"));
            }
        }
        Ok(())
    }
}

/// Order of a list of traces. The place of a trace never changes, so pages neither repeat nor miss one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceOrder {
    /// By the position of the start, latest first.
    #[default]
    Started,
    /// By the position of the finish, latest first; finished traces alone.
    Finished,
}

/// State of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceStatus {
    /// It goes on.
    Open,
    /// It has its `TraceFinished`.
    Finished,
}

impl TraceStatus {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            TraceStatus::Open => "open",
            TraceStatus::Finished => "finished",
        }
    }
}

/// A choice of traces. Every part of it has to fit; an absent part fits any trace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceFilter {
    /// State of the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TraceStatus>,
    /// Workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Type of the primary entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    /// Id of the primary entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// Node of the graph that an edge of the trace touches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub involves: Option<String>,
    /// Type of the actor that started the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_type: Option<String>,
    /// Id of the actor that started the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// Types of which the trace has at least one event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// One of the free words of the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Earliest time of the start, compared as an instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_since: Option<String>,
    /// Latest time of the start, compared as an instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_until: Option<String>,
    /// Beginning of the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title_prefix: Option<String>,
    /// Beginning of the trace's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id_prefix: Option<String>,
}

/// A list of traces.
pub type TracesReply = ReadReply<TracesPage>;

/// A page of traces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracesPage {
    /// Traces in the order of the list.
    pub traces: Vec<TraceEntry>,
    /// Place at which the list goes on; none at its end. A page may be short or empty and still have a next one: it
    /// ends at [`TRACES_SCANNED_MAX`] traces too, whether or not the filter takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<LogSeq>,
    /// Position up to which the log is in the list.
    pub upto: LogSeq,
}

/// A trace in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEntry {
    /// Summary of the trace.
    #[serde(flatten)]
    pub summary: Summary,
    /// State of the trace.
    pub status: TraceStatus,
    /// Position of its start.
    pub started_log_seq: LogSeq,
    /// Number of its events.
    pub events_stored: i64,
    /// Latest of its events.
    pub last_event: LastEvent,
}

/// Latest event of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvent {
    /// Position of the event.
    pub log_seq: LogSeq,
    /// Type of the event.
    pub event_type: String,
    /// Time of the event, as its producer gave it.
    pub occurred_at: String,
}
