//! Generations: built beside the live one, flipped to, removed.

use crate::{BuildLease, Flip, Position, Result, Scope, Storage, Sweep};
use async_trait::async_trait;
use uuid::Uuid;

/// Builds generations. Every step may be repeated after a crash at any point.
#[async_trait]
pub trait Builds {
    /// Starts a new, empty generation for this run, at the log's origin. An unfinished one of the same run is retired.
    async fn begin_build(&self, scope: &Scope, run_id: Uuid, storage: Storage) -> Result<BuildLease>;

    /// Takes over this run's unfinished generation with a new fence, if there is one.
    async fn resume_build(&self, scope: &Scope, run_id: Uuid) -> Result<Option<(BuildLease, Position)>>;

    /// Makes look-ups by these columns (table, column) of a generation under construction cheap from now on. Column 0
    /// is the key, by which rows are also changed and removed. A caller uses it before it asks for prior rows of a
    /// build, or commits a batch that changes some. Without it the answer is the same, but every row is read for it.
    /// May take long; safe to repeat.
    async fn index_build(&self, lease: &BuildLease, columns: &[(usize, usize)]) -> Result<()>;

    /// Makes the generation ready to be read: late indexes, attached partition, statistics. A key that exists twice is
    /// found here at the latest, with an error that names it. May take long; safe to repeat.
    async fn finish_build(&self, lease: &BuildLease) -> Result<()>;

    /// Makes the built generation the live one, if it is not behind. It is behind while the log holds an event between
    /// its cursor and the live one. (A live cursor above the end of the log does not delay it.) It is one transaction
    /// that locks the scope row, then the generation's. It moves generation, cursor, digest and version. It takes a new
    /// epoch without changing the owner, so that a batch prepared for the old generation is fenced. The old generation
    /// is retired.
    async fn flip(&self, lease: &BuildLease) -> Result<Flip>;

    /// Retires a generation under construction (after a cancel, or when the job gives up).
    async fn abandon_build(&self, scope: &Scope, run_id: Uuid) -> Result<()>;

    /// Deletes rows of retired generations, at most about `rows_max` in one call, once every transaction older than
    /// their retirement has ended.
    async fn sweep(&self, rows_max: u64) -> Result<Sweep>;
}
