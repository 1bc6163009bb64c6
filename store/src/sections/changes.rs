//! The record of the operators' requests.

use crate::{Change, ChangeEnd, ChangeFilter, NewChange, Paged, Result};
use async_trait::async_trait;

/// Records changes. A record is neither changed nor deleted: the end of a change is a second row.
#[async_trait]
pub trait Changes {
    /// Records a change that an operator requested, before it is carried out. Returns its number. Of a process with the
    /// database, the recorded identity is the database's role where there are roles.
    async fn note_change(&self, change: &NewChange) -> Result<i64>;

    /// Records the end of a change. The first end stays.
    async fn end_change(&self, change_id: i64, end: &ChangeEnd) -> Result<()>;
}

/// Reads recorded changes.
#[async_trait]
pub trait ReadChanges {
    /// Lists the chosen changes, latest first, before this one. At most `limit`, and at most
    /// [`LIST_BYTES_MAX`](crate::LIST_BYTES_MAX) bytes.
    async fn changes(&self, filter: &ChangeFilter, before: Option<i64>, limit: usize) -> Result<Paged<Change>>;
}
