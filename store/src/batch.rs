//! A batch that can be moved to another thread or task. While it is written there, its caller reads and folds the next.

use crate::{BatchCommit, SealBatch};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Changes, LogSeq, Table};

/// A batch of its own: as [`BatchCommit`], without borrowed parts. The changes are shared with the caller.
pub(crate) struct Batch {
    pub tables: &'static [Table],
    pub version: i32,
    pub from: LogSeq,
    pub to: LogSeq,
    pub changes: Changes,
    pub digest: RollingDigest,
    pub checkpoint: bool,
    /// True when it leaves a skipped event out.
    pub deviates: bool,
    /// Growth of the tenant's tree.
    pub seal: Option<SealBatch>,
}

impl Batch {
    /// Returns the growth of the tenant's tree, if the batch has any.
    pub fn growth(&self) -> Option<&SealBatch> {
        self.seal.as_ref().filter(|seal| !seal.grown.chunks.is_empty())
    }

    /// Counts the changed rows; a sealed event counts as one.
    pub fn rows(&self) -> usize {
        let sealed: u64 = self.growth().map_or(0, |seal| seal.grown.chunks.iter().map(|chunk| chunk.events).sum());
        self.changes.len().saturating_add(usize::try_from(sealed).unwrap_or(usize::MAX))
    }
}

impl From<&BatchCommit<'_>> for Batch {
    fn from(batch: &BatchCommit<'_>) -> Batch {
        Batch {
            tables: batch.projection.tables(),
            version: batch.projection.version(),
            from: batch.from,
            to: batch.to,
            changes: batch.changes.clone(),
            digest: batch.digest.clone(),
            checkpoint: batch.checkpoint,
            deviates: !batch.skipped.is_empty(),
            seal: batch.seal.cloned(),
        }
    }
}
