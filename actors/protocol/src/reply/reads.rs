//! What is read: projections, digests, events, failures, exports.

use crate::query::{EventRecord, Staleness, Summary};
use crate::report::FailureReplay;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{Change, Failure, Generation, PrecedentHit, Skip, Stray, TenantHead};
use serde::{Deserialize, Serialize};

/// The rolling digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestReply {
    /// Whose.
    pub tenant: TenantId,
    /// In catalogue order.
    pub digests: Vec<ScopeDigest>,
}

/// A rolling digest and where it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeDigest {
    /// Which.
    pub projection: String,
    /// Everything up to here is in it.
    pub cursor: LogSeq,
    /// The tenant's last event at or below `cursor`: equal digests at equal positions mean equal rows.
    pub last_log_seq: LogSeq,
    /// Of this generation.
    pub generation: Option<Generation>,
    /// Version of the rules.
    pub version: i32,
    /// `lthash:…`
    pub digest: String,
    /// Whether its rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReply<A> {
    /// Whose.
    pub tenant: TenantId,
    /// Present when the answer is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// The answer itself.
    #[serde(flatten)]
    pub answer: A,
}

/// Precedents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecedentsReply {
    /// Latest first.
    pub hits: Vec<PrecedentHit>,
    /// True when the list goes on: the limit or the bytes of one answer were reached.
    #[serde(default)]
    pub more: bool,
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceReply {
    /// Whose.
    pub tenant: TenantId,
    /// Present when the summary is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// None when the projection has not seen its start.
    pub summary: Option<Summary>,
    /// In order.
    pub events: Vec<EventRecord>,
    /// Ask again with `after` = the last event's `log_seq`.
    pub more: bool,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReply {
    /// Whose.
    pub tenant: TenantId,
    /// In `log_seq` order.
    pub events: Vec<EventRecord>,
    /// Ask again with `since_log_seq` = the last event's `log_seq`.
    pub more: bool,
}

/// Poison events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailuresReply {
    /// Newest first.
    pub failures: Vec<Failure>,
    /// Newest first, when skips were asked for: then there are no failures here. A node that knows no such list leaves it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skips: Option<Vec<Skip>>,
    /// True when the list goes on, as the limit or the bytes of one answer were reached: ask again with `after` = the last one's id.
    #[serde(default)]
    pub more: bool,
}

/// A poison event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureReply {
    /// As stored.
    #[serde(flatten)]
    pub failure: Failure,
    /// What meeting it again gave, when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<FailureReplay>,
    /// The skip that holds for this event in this projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Box<Skip>>,
}

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsReply {
    /// By the bytes of their ids.
    pub tenants: Vec<TenantHead>,
    /// Ask again with `after` = the last one.
    pub more: bool,
}

/// What an export can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStartReply {
    /// The safe mark: up to here the log will not change any more.
    pub mark: LogSeq,
    /// Whose events it holds.
    pub tenants: Vec<TenantId>,
    /// What is stored and nobody's: no export holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<Stray>,
}

/// A page of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPageReply {
    /// JSON lines, without line feeds.
    pub lines: Vec<String>,
    /// Position of the last event; none when there was no further one.
    pub last_log_seq: Option<LogSeq>,
    /// Events that cannot be written as lines, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<(LogSeq, String)>,
}

/// The changes that operators asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesReply {
    /// Latest first.
    pub changes: Vec<Change>,
    /// True when the list goes on: ask again with `before` = the last one's `change_id`.
    pub more: bool,
}
