//! Poison events: their failures, and the operators' decisions about them.

use super::Scope;
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId};
use serde::{Deserialize, Serialize};

/// A poison event, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFailure {
    /// Scope that met the event.
    pub scope: Scope,
    /// Position of the event.
    pub log_seq: LogSeq,
    /// Id of the event.
    pub event_id: String,
    /// Trace of the event.
    pub trace_id: String,
    /// Type of the event.
    pub event_type: String,
    /// Reason of the failure, with its category.
    pub refusal: Refusal,
    /// Cursor before the batch that met it.
    pub batch_from: LogSeq,
    /// Last event of that batch.
    pub batch_to: LogSeq,
    /// The rolling digest at `batch_from`, as text.
    pub digest_before: String,
}

/// A failure as stored. There is one open row per (scope, event); each further encounter counts one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Failure {
    pub failure_id: i64,
    pub tenant: TenantId,
    pub projection: String,
    pub log_seq: LogSeq,
    pub event_id: String,
    pub trace_id: String,
    pub event_type: String,
    pub category: Category,
    pub message: String,
    pub batch_from: LogSeq,
    pub batch_to: LogSeq,
    pub digest_before: String,
    /// Number of attempts that met the event.
    pub attempts: i64,
    /// Time of the first encounter, RFC 3339.
    pub first_seen_at: String,
    /// Time of the last encounter, RFC 3339.
    pub last_seen_at: String,
    /// Time of the resolution, RFC 3339; none while it is open.
    pub resolved_at: Option<String>,
}

/// Open failures of one scope: their number, and the failure at the lowest position, which stops the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFailures {
    /// Tenant of the scope.
    pub tenant: TenantId,
    /// Projection of the scope.
    pub projection: String,
    /// Number of its open failures.
    pub count: u64,
    /// Id of the first failure.
    pub failure_id: i64,
    /// Position of the first failure's event.
    pub log_seq: LogSeq,
    /// Id of that event.
    pub event_id: String,
    /// Reason of the first failure.
    pub category: Category,
}

/// A poison event that an operator left out of a projection. It is not checked and not projected, and counts as its
/// trace's predecessor. Its record is kept for ever; the skip holds until it is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Skip {
    #[serde(default)]
    pub skip_id: i64,
    pub tenant: TenantId,
    pub projection: String,
    pub log_seq: LogSeq,
    pub event_id: String,
    pub trace_id: String,
    /// Reason of the skip, for people.
    pub reason: String,
    /// Operator who decided, for people.
    pub skipped_by: String,
    /// Time of the decision, RFC 3339.
    pub skipped_at: String,
    /// Failure that the skip answers.
    pub failure_id: i64,
    /// Time of the revocation, RFC 3339; none while the skip holds.
    pub revoked_at: Option<String>,
}

impl Skip {
    /// Answers a request to skip the event of `failure_id`. Returns the skip that holds, when it answers that failure.
    /// Returns none when there is no skip and the failure is open. Otherwise the answer is `conflict`.
    pub fn repeated(held: Option<Skip>, failure_id: i64, open: bool) -> crate::Result<Option<Skip>> {
        match held {
            Some(held) if held.failure_id == failure_id => Ok(Some(held)),
            Some(held) => Err(crate::StoreError::new(
                Category::Conflict,
                format!(
                    "the event at log_seq {} is skipped already, because of failure {}",
                    held.log_seq, held.failure_id
                ),
            )),
            None if open => Ok(None),
            None => Err(crate::StoreError::new(
                Category::Conflict,
                format!("failure {failure_id} is resolved: there is nothing to skip"),
            )),
        }
    }

    /// Creates `not_found`: there is no skip to revoke.
    pub fn none(scope: &Scope, log_seq: LogSeq) -> crate::StoreError {
        crate::StoreError::new(Category::NotFound, format!("no skip is in force in {scope} at log_seq {log_seq}"))
    }
}
