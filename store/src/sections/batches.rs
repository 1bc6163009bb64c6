//! Batches: rows, resolved failures, checkpoint and cursor, committed together.

use crate::{BatchCommit, BuildLease, Encoded, Generation, Lease, Result, Scope};
use async_trait::async_trait;
use decisiongraph_projections::{Changes, Projection};

/// Commits batches: applied whole and durably, or not at all.
#[async_trait]
pub trait Batches {
    /// Encodes the changes of a batch, while the batch before it is still being committed. `building`: for
    /// [`Batches::commit_build`]. A store that writes rows as they are encodes nothing.
    async fn encode(
        &self,
        _scope: &Scope,
        _generation: Generation,
        _building: bool,
        _projection: &'static dyn Projection,
        _changes: &Changes,
    ) -> Encoded {
        Encoded::default()
    }

    /// Commits a batch to the live generation, durably, or changes nothing. `fenced` when epoch, generation or cursor
    /// are not the expected ones, or when the lease's session is gone.
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()>;

    /// Commits a batch to a generation under construction.
    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()>;
}
