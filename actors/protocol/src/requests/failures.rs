//! Poison events, and the skips that leave them out.

use crate::report::FailureReplay;
use crate::request::{Facts, FromDatabase, FromNode, Reply, Request, Right, ScopeFilter, Subject, change_of};
use decisiongraph_projections::TenantId;
use decisiongraph_records::{Failure, NewChange, Skip};
use serde::{Deserialize, Serialize};
use serde_json::{json, to_string};
use uuid::Uuid;

/// Request for failures, skips or jobs, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Tenant of the entries; all when none.
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
    /// True to list only open failures, skips in force, or jobs that have not ended.
    pub open_only: bool,
    /// Most entries per page.
    pub limit: i64,
    /// Id of the entry behind which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// True for skips instead of failures.
    #[serde(default)]
    pub skips: bool,
}

/// Poison events, or the skipped events among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailuresRequest(pub ListRequest);

impl Request for FailuresRequest {
    const FACTS: Facts = Facts::reads("failures", Some(Right::Observe)).large();
    type Reply = FailuresReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.0.tenant)
    }
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

impl Reply for FailuresReply {
    fn to_json(&self) -> serde_json::Result<String> {
        match &self.skips {
            Some(skips) => to_string(&json!({ "skips": skips, "more": self.more })),
            None => to_string(self),
        }
    }
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRequest {
    /// Id of the failure.
    pub failure_id: i64,
    /// True to fold its batch again, offline, and report the result.
    #[serde(default)]
    pub replay: bool,
    /// Scope that the failure is expected in; `not_found` when it is in another.
    #[serde(default)]
    pub of: ScopeFilter,
}

impl Request for FailureRequest {
    const FACTS: Facts = Facts::reads("failure", Some(Right::Observe));
    type Reply = FailureReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Failure(self.failure_id, &self.of)
    }

    fn is_large(&self) -> bool {
        self.replay
    }
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

impl Reply for FailureReply {}

/// Leave the event of an open failure out of its projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipRequest {
    /// Id of the failure.
    pub failure_id: i64,
    /// Reason; ignored when the skip is revoked.
    pub reason: String,
    /// True to end the skip instead.
    #[serde(default)]
    pub revoke: bool,
    /// Scope that the failure is expected in; `not_found` when it is in another.
    #[serde(default)]
    pub of: ScopeFilter,
}

impl Request for SkipRequest {
    const FACTS: Facts = Facts::changes("skip", Some(Right::Steer));
    type Reply = Skip;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Failure(self.failure_id, &self.of)
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        let what = if self.revoke { "revoke" } else { "skip" };
        Some(change_of(what, format!("failure {}", self.failure_id), &self.of, Some(&self.reason)))
    }
}

impl Reply for Skip {}
