//! Replies to reads: projections, digests, events, failures, exports.

use crate::query::{EventRecord, Staleness, Summary};
use crate::report::FailureReplay;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{Change, Failure, Generation, PrecedentHit, Skip, Stray, TenantHead};
use serde::{Deserialize, Serialize};

/// The rolling digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestReply {
    /// Tenant of the scopes.
    pub tenant: TenantId,
    /// Digests in catalogue order.
    pub digests: Vec<ScopeDigest>,
}

/// A rolling digest and its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeDigest {
    /// Name of the projection.
    pub projection: String,
    /// Position up to which the digest includes everything.
    pub cursor: LogSeq,
    /// Position of the tenant's last event at or below `cursor`. Equal digests at equal positions mean equal rows.
    pub last_log_seq: LogSeq,
    /// Generation of the digest.
    pub generation: Option<Generation>,
    /// Version of the rules.
    pub version: i32,
    /// Digest as text, `lthash:…`
    pub digest: String,
    /// True when the scope's rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReply<A> {
    /// Tenant of the read models.
    pub tenant: TenantId,
    /// Staleness of the answer; present when it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// The answer itself.
    #[serde(flatten)]
    pub answer: A,
}

/// A list of precedents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecedentsReply {
    /// Hits, latest first.
    pub hits: Vec<PrecedentHit>,
    /// True when the list goes on: the limit or the bytes of one answer were reached.
    #[serde(default)]
    pub more: bool,
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceReply {
    /// Tenant of the trace.
    pub tenant: TenantId,
    /// Staleness of the summary; present when it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// Summary of the trace; none when the projection has not seen the trace's start.
    pub summary: Option<Summary>,
    /// Events in order.
    pub events: Vec<EventRecord>,
    /// True when the trace goes on. Ask again with `after` = the last event's `log_seq`.
    pub more: bool,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Events in `log_seq` order.
    pub events: Vec<EventRecord>,
    /// True when the stretch goes on. Ask again with `since_log_seq` = the last event's `log_seq`.
    pub more: bool,
}

/// A list of poison events or skips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailuresReply {
    /// Failures, newest first.
    pub failures: Vec<Failure>,
    /// Skips, newest first, when they were asked for; then `failures` is empty. A node without this list leaves the
    /// field out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skips: Option<Vec<Skip>>,
    /// True when the list goes on, because the limit or the bytes of one answer were reached. Ask again with `after` =
    /// the last entry's id.
    #[serde(default)]
    pub more: bool,
}

/// A poison event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureReply {
    /// Failure as stored.
    #[serde(flatten)]
    pub failure: Failure,
    /// Result of the replay, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<FailureReplay>,
    /// Skip in force for this event in this projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Box<Skip>>,
}

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsReply {
    /// Tenants by the bytes of their ids.
    pub tenants: Vec<TenantHead>,
    /// True when the list goes on. Ask again with `after` = the last tenant.
    pub more: bool,
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

/// The changes that operators asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesReply {
    /// Changes, latest first.
    pub changes: Vec<Change>,
    /// True when the list goes on. Ask again with `before` = the last change's `change_id`.
    pub more: bool,
}
