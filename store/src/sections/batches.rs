//! Batches: rows, resolved failures, checkpoint and cursor, committed together.

use crate::{BatchCommit, BuildLease, Lease, Result};
use async_trait::async_trait;

/// Commits batches: applied whole and durably, or not at all.
#[async_trait]
pub trait Batches {
    /// Commits a batch to the live generation, durably, or changes nothing. `fenced` when epoch, generation or cursor
    /// are not the expected ones, or when the lease's session is gone.
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()>;

    /// Commits a batch to a generation under construction.
    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()>;

    /// True when a large batch has delayed other writers of this process since the last call. A job then makes smaller
    /// batches.
    fn has_delayed(&self) -> bool {
        false
    }
}
