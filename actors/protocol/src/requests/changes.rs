//! The changes that operators asked for.

use crate::request::{Facts, FromDatabase, Reply, Request, Right, Subject};
use decisiongraph_projections::TenantId;
use decisiongraph_records::Change;
use serde::{Deserialize, Serialize};

/// A page of the changes that operators asked for, latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesRequest {
    /// Tenant of the log. When none: changes about any log, and about none.
    pub tenant: Option<TenantId>,
    /// Number of the change before which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// Most entries per page.
    pub limit: i64,
    /// Earliest time of the request, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Proven identity of the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Name of the change, such as `pause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `accepted`, `refused` or `failed`; `none` for changes without a recorded end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

impl Request for ChangesRequest {
    const FACTS: Facts = Facts::reads("changes", Some(Right::Audit)).since(3);
    type Reply = ChangesReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.tenant)
    }
}

/// The changes that operators asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesReply {
    /// Changes, latest first.
    pub changes: Vec<Change>,
    /// True when the list goes on. Ask again with `before` = the last change's `change_id`.
    pub more: bool,
}

impl Reply for ChangesReply {}
