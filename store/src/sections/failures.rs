//! Poison events: their failures, and the operators' skips.

use crate::{Failure, ListFilter, NewFailure, OpenFailures, Paged, Result, Scope, Skip};
use async_trait::async_trait;
use decisiongraph_projections::{LogSeq, TenantId};

/// Records failures and skips. Only the event of an open failure is skipped, with operator and reason beside it. One
/// skip per event holds at a time. Nothing is deleted: a revoked skip stays.
#[async_trait]
pub trait Failures {
    /// Records that the scope met a poison event: one open row per event, counting attempts. Open failures of the scope
    /// at or below a committed cursor are resolved by the commit that passes them.
    async fn record_failure(&self, failure: &NewFailure) -> Result<Failure>;

    /// Leaves the event of an open failure out of its projection from the next batch on; see [`Skip`]. The failure is
    /// resolved by the commit that passes it. The same failure again returns the skip that holds. `not_found` when
    /// there is no such failure. `conflict` when it is resolved or its event is skipped because of another failure.
    async fn skip_event(&self, failure_id: i64, reason: &str, by: &str) -> Result<Skip>;

    /// Ends the skip that holds for this event; `not_found` when there is none. Rows that were written past the event
    /// stay until a rebuild.
    async fn revoke_skip(&self, scope: &Scope, log_seq: LogSeq) -> Result<Skip>;
}

/// Reads failures and skips.
#[async_trait]
pub trait ReadFailures {
    /// Lists failures, newest first, at most [`LIST_BYTES_MAX`](crate::LIST_BYTES_MAX) bytes of them.
    async fn failures(&self, filter: &ListFilter) -> Result<Paged<Failure>>;

    /// Lists the scopes with open failures, all or those of one tenant, by tenant. One entry per scope, whatever the
    /// number of its failures.
    async fn open_failures(&self, tenant: Option<&TenantId>) -> Result<Vec<OpenFailures>>;

    /// Reads one failure.
    async fn failure(&self, failure_id: i64) -> Result<Option<Failure>>;

    /// Lists the skips of a scope that hold, by log_seq.
    async fn skips(&self, scope: &Scope) -> Result<Vec<Skip>>;

    /// Lists skips of all scopes or some, newest first, at most [`LIST_BYTES_MAX`](crate::LIST_BYTES_MAX) bytes of
    /// them. With `open_only`, only the skips that hold.
    async fn all_skips(&self, filter: &ListFilter) -> Result<Paged<Skip>>;
}
