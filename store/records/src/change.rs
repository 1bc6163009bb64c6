//! The nouns of the record of changes: what operators asked for, and what came of it.

use decisiongraph_projections::TenantId;
use serde::{Deserialize, Serialize};

/// A change that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChange {
    /// In one word, as the request is called: `pause`, `rebuild`, `cordon`.
    pub what: String,
    /// The tenant whose log it is about; none when it is about no log.
    pub tenant: Option<TenantId>,
    /// Which projection; all when none.
    pub projection: Option<String>,
    /// The failure, run or node that it is about; none when it is about none.
    pub subject: Option<String>,
    /// The asker: the name that they gave, and how they were proven.
    pub by: String,
    /// The process that carries it out.
    pub through: String,
    /// Why; empty when nobody said.
    pub reason: String,
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The number of the change, in the order in which changes were asked for.
    pub change_id: i64,
    /// The time at which it was asked for, RFC 3339.
    pub at: String,
    /// The change that was asked for.
    #[serde(flatten)]
    pub asked: NewChange,
    /// `done`, or the category of the refusal and its message; none while it is carried out, or when its process died
    /// before the end.
    pub outcome: Option<String>,
}
