//! Events of the log: a trace, a stretch, an export.

use crate::query::{EventRecord, Freshness, RowsState, Staleness, Summary};
use crate::request::{Facts, FromDatabase, Reply, Request, Right, Subject};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{EventFilter, Stray};
use serde::{Deserialize, Serialize};

/// Request for a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Tenant of the trace.
    pub tenant: Option<TenantId>,
    /// Id of the trace.
    pub trace_id: String,
    /// Position behind which events are read.
    pub after: LogSeq,
    /// Most events per page.
    pub limit: i64,
    /// Required freshness of the summary.
    pub freshness: Freshness,
}

impl Request for TraceRequest {
    const FACTS: Facts = Facts::reads("trace", Some(Right::Read)).large();
    type Reply = TraceReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceReply {
    /// Tenant of the trace.
    pub tenant: TenantId,
    /// Staleness of the summary; present when it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// State of the rows that were read; none when they are behind.
    #[serde(skip)]
    pub rows: Vec<RowsState>,
    /// Summary of the trace; none when the projection has not seen the trace's start.
    pub summary: Option<Summary>,
    /// Events in order.
    pub events: Vec<EventRecord>,
    /// True when the trace goes on. Ask again with `after` = the last event's `log_seq`.
    pub more: bool,
}

impl Reply for TraceReply {}

/// Request for a stretch of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Position behind which events are read (exclusive).
    pub since_log_seq: LogSeq,
    /// Last position (inclusive); the safe mark when none or when that is lower.
    pub until_log_seq: Option<LogSeq>,
    /// Most events per page.
    pub limit: i64,
    /// Id of the only event to read; any when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Choice of events.
    #[serde(flatten)]
    pub filter: EventFilter,
}

impl Request for EventsRequest {
    const FACTS: Facts = Facts::reads("events", Some(Right::Read)).large();
    type Reply = EventsReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Events in `log_seq` order.
    pub events: Vec<EventRecord>,
    /// True when the stretch goes on. Ask again with `since_log_seq` = `scanned_to`. A page may be short or empty and
    /// still have more: it ends at [`EVENTS_SCANNED_MAX`] events too, whether or not the filter takes them.
    pub more: bool,
    /// Position up to which events were looked at.
    #[serde(default)]
    pub scanned_to: LogSeq,
    /// Safe mark: at or below it nothing can still appear. No event behind it is read. Where no mark is known (on a
    /// standby, while an appender is open), it is the furthest cursor of the tenant.
    #[serde(default)]
    pub mark: LogSeq,
}

/// Most events that a filter looks at for one page.
pub const EVENTS_SCANNED_MAX: usize = 20_000;

impl Reply for EventsReply {}

/// Position up to which the log can be exported now, and the tenants in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStartRequest;

impl Request for ExportStartRequest {
    const FACTS: Facts = Facts::reads("export_start", Some(Right::Prove));
    type Reply = ExportStartReply;
    type Source = FromDatabase;
}

/// Bounds of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStartReply {
    /// Safe mark: up to here the log will not change any more.
    pub mark: LogSeq,
    /// Tenants whose events the log holds.
    pub tenants: Vec<TenantId>,
    /// Stray rows: no export holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<Stray>,
}

impl Reply for ExportStartReply {}

/// A page of an export. The asker chooses shorter pages when events are large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// True when each line names its tenant.
    pub named: bool,
    /// Position behind which events are read (exclusive).
    pub after: LogSeq,
    /// Last position (inclusive).
    pub upto: LogSeq,
    /// Most events per page.
    pub limit: i64,
}

impl Request for ExportRequest {
    const FACTS: Facts = Facts::reads("export_page", Some(Right::Prove)).large();
    type Reply = ExportPageReply;
    type Source = FromDatabase;

    // An export without a named tenant sends `default`, so `default` counts as unnamed here.
    fn subject(&self) -> Subject<'_> {
        Subject::Log(Some(&self.tenant).filter(|tenant| **tenant != TenantId::default()))
    }
}

/// A page of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPageReply {
    /// JSON lines, without line feeds.
    pub lines: Vec<String>,
    /// Position of the last event; none when there was no further event.
    pub last_log_seq: Option<LogSeq>,
    /// Events that cannot be written as lines, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<(LogSeq, String)>,
}

impl Reply for ExportPageReply {}
