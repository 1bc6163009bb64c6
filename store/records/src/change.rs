//! The nouns of the record of changes: the requests of operators, and their outcomes.

use decisiongraph_projections::TenantId;
use serde::{Deserialize, Serialize};

/// A change that an operator requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChange {
    /// Name of the request in one word: `pause`, `rebuild`, `cordon`.
    pub what: String,
    /// Tenant of the log that it is about; none when it is about no log.
    pub tenant: Option<TenantId>,
    /// Projection that it is about; all when none.
    pub projection: Option<String>,
    /// Failure, run or node that it is about; none when it is about none.
    pub subject: Option<String>,
    /// Name that the operator gave, and the proof of it.
    pub by: String,
    /// Process that carries it out.
    pub through: String,
    /// Reason of the change; empty when none was given.
    pub reason: String,
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the change, in the order of the requests.
    pub change_id: i64,
    /// Time of the request, RFC 3339.
    pub at: String,
    /// Change that was requested.
    #[serde(flatten)]
    pub asked: NewChange,
    /// `done`, or the category of the refusal and its message. None while it is carried out, or when its process died
    /// before the end.
    pub outcome: Option<String>,
}
