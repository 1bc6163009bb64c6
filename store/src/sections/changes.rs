//! The record of the operators' requests.

use crate::{Change, NewChange, Paged, Result};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;

/// Records changes. A record is neither changed nor deleted, except that its outcome is added once.
#[async_trait]
pub trait Changes {
    /// Records a change that an operator requested, before it is carried out. Returns its number.
    async fn note_change(&self, change: &NewChange) -> Result<i64>;

    /// Records the outcome of a change. The first outcome stays.
    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()>;
}

/// Reads recorded changes.
#[async_trait]
pub trait ReadChanges {
    /// Lists the changes that operators requested, latest first: of this tenant (or of all, and of none), before this
    /// one. At most `limit`, and at most [`LIST_BYTES_MAX`](crate::LIST_BYTES_MAX) bytes.
    async fn changes(&self, tenant: Option<&TenantId>, before: Option<i64>, limit: usize) -> Result<Paged<Change>>;
}
