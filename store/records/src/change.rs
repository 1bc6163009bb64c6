//! The nouns of the record of changes: the requests of operators, and their outcomes.

use decisiongraph_projections::TenantId;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

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
    /// Job that it begins, continues or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<Uuid>,
    /// Operator, and the way of the request.
    #[serde(flatten)]
    pub asker: ChangeAsker,
    /// Process that carries it out.
    pub through: String,
    /// Incarnation of that process.
    #[serde(skip)]
    pub process: Option<Uuid>,
    /// Reason of the change; empty when none was given.
    pub reason: String,
}

/// Asker of a change, with the proof of the asker's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeAsker {
    /// Proven identity: name in the identities file, user of the socket, certificate, or role of the database.
    pub identity: String,
    /// Public part of the identity's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Name that the asker gave. It is not proven, and grants nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// Address of the other side; the user id of a process with the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Way of the request: `http`, `socket`, `tcp`, `cluster` or `database`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub door: String,
    /// Id of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

impl ChangeAsker {
    /// Returns the name that the asker gave, and the proof of it.
    pub fn name(&self) -> String {
        match &self.on_behalf_of {
            Some(name) => format!("{name} by {}", self.identity),
            None => self.identity.clone(),
        }
    }
}

/// Outcome of a change, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// The change was carried out, or its job was begun.
    Accepted,
    /// The change was refused, and nothing was done.
    Refused,
    /// The change failed, or may have failed.
    Failed,
}

impl ChangeOutcome {
    /// Every outcome.
    pub const ALL: [ChangeOutcome; 3] = [ChangeOutcome::Accepted, ChangeOutcome::Refused, ChangeOutcome::Failed];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeOutcome::Accepted => "accepted",
            ChangeOutcome::Refused => "refused",
            ChangeOutcome::Failed => "failed",
        }
    }

    /// Finds the outcome with this word.
    pub fn parse(word: &str) -> Option<ChangeOutcome> {
        ChangeOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// End of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEnd {
    /// Outcome.
    pub outcome: ChangeOutcome,
    /// Category or code of the error; none when the change was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `done`, `begun`, or the message of the error.
    pub message: String,
}

impl fmt::Display for ChangeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
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
    /// Name that the operator gave, and the proof of it.
    pub by: String,
    /// `done`, `begun`, or the category of the error and its message. None without a recorded end.
    pub outcome: Option<String>,
    /// Recorded end; none while the change is carried out, or when its process died before the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ChangeEnd>,
    /// Time of the end, RFC 3339. None for an end of a schema that did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// True when no end is recorded and its process has no lease: it died in between.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// A choice of recorded changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Tenant of the log. When none: changes about any log, and about none.
    pub tenant: Option<TenantId>,
    /// Earliest time of the request, milliseconds since the beginning of 1970.
    pub since_ms: Option<i64>,
    /// Proven identity.
    pub identity: Option<String>,
    /// Name of the request.
    pub what: Option<String>,
    /// Outcome, or [`ChangeFilter::NO_END`].
    pub outcome: Option<String>,
}

impl ChangeFilter {
    /// Stands for an outcome of changes without an end.
    pub const NO_END: &'static str = "none";
}
