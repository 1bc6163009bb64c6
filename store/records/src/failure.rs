//! Poison events: their failures, and what an operator decided about them.

use super::Scope;
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId};
use serde::{Deserialize, Serialize};

/// A poison event, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFailure {
    /// Whose.
    pub scope: Scope,
    /// The event.
    pub log_seq: LogSeq,
    /// Its id.
    pub event_id: String,
    /// Its trace.
    pub trace_id: String,
    /// Its type.
    pub event_type: String,
    /// What is wrong, and of which category.
    pub refusal: Refusal,
    /// Cursor before the batch that met it.
    pub batch_from: LogSeq,
    /// Last event of that batch.
    pub batch_to: LogSeq,
    /// The rolling digest at `batch_from`, as text.
    pub digest_before: String,
}

/// A failure as stored. One open row a (scope, event); seeing it again counts an attempt.
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
    /// How often it was met.
    pub attempts: i64,
    /// RFC 3339.
    pub first_seen_at: String,
    /// RFC 3339.
    pub last_seen_at: String,
    /// RFC 3339; none while it is open.
    pub resolved_at: Option<String>,
}

/// A poison event that somebody decided to leave out of a projection. It is not checked and not projected, and counts as its trace's
/// predecessor. Kept for ever; it holds until it is revoked.
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
    /// Why, for people.
    pub reason: String,
    /// Who decided, for people.
    pub skipped_by: String,
    /// RFC 3339.
    pub skipped_at: String,
    /// The failure that it answers.
    pub failure_id: i64,
    /// RFC 3339; none while it holds.
    pub revoked_at: Option<String>,
}

impl Skip {
    /// What a request to skip the event of `failure_id` meets: the skip that holds, when it answers that failure; none, when there is no
    /// skip and the failure is open; else `conflict`.
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

    /// `not_found`: nothing to revoke.
    pub fn none(scope: &Scope, log_seq: LogSeq) -> crate::StoreError {
        crate::StoreError::new(Category::NotFound, format!("no skip holds in {scope} at log_seq {log_seq}"))
    }
}
