//! The sealed log: trees, their chunks and nodes, and signed notes. A tree grows with [`crate::Batches::commit`].

use crate::Standbys;
use crate::{Lease, LoggedEvent, NewSealNote, NoteKind, PageLimit, Result, SealFork, SealNote, SealPage, SealTree};
use async_trait::async_trait;
use decisiongraph_projections::seal::chunk::{Chunk, Node};
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::{LogSeq, TenantId};
use std::ops::Range;

/// Writes what belongs to the seal, besides its batches.
#[async_trait]
pub trait Seals {
    /// Makes the row of a tenant's first tree, empty, with an origin of the caller's choice. `conflict` when the tenant
    /// has a tree already.
    async fn begin_seal(&self, tenant: &TenantId, origin: &str) -> Result<SealTree>;

    /// Stores signed notes, all or none. A note that is there already (same tree, kind, size and text) is left alone.
    async fn add_seal_notes(&self, notes: &[NewSealNote]) -> Result<()>;

    /// Deletes checkpoints and statements of the tenant that are older than a day, but for the last of each hour.
    /// Returns their number. Notes of other kinds stay.
    async fn thin_seal_notes(&self, tenant: &TenantId) -> Result<u64>;

    /// Ends a tree and begins the next one, in one transaction: takes the common leaves over with their salts, copies
    /// full nodes, writes the frontier, closes the old tree, stores the note and moves the scope's cursor back to the
    /// last common event. `fenced` when the lease does not hold, `conflict` when the old tree has another head.
    async fn fork_seal(&self, lease: &Lease, fork: &SealFork) -> Result<SealTree>;

    /// Replaces every node of the tree, and its frontier, by what its chunks give. `fenced` when the lease does not
    /// hold; `conflict` when the tree has another size. Needs the right to delete nodes, which a node's role lacks.
    async fn mend_seal(&self, lease: &Lease, tree: i64, nodes: &[Node], frontier: &Frontier) -> Result<()>;

    /// Returns a position of the server's write-ahead log behind everything that is committed now; none where there is
    /// no replication.
    async fn wal_position(&self) -> Result<Option<String>>;

    /// Counts the standbys that stream, and those that have flushed this position.
    async fn standbys(&self, position: &str) -> Result<Standbys>;
}

/// Reads the sealed log.
#[async_trait]
pub trait ReadSeals {
    /// Lists the trees of a tenant, the first one first.
    async fn seal_trees(&self, tenant: &TenantId) -> Result<Vec<SealTree>>;

    /// Lists the newest tree of each tenant, by tenant behind `after`, at most `limit`.
    async fn seal_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<SealTree>>;

    /// Reads chunks in order, from the one that has leaf `from` (or the next one there is), at most `limit`.
    async fn seal_chunks(&self, tenant: &TenantId, tree: i64, from: u64, limit: usize) -> Result<Vec<Chunk>>;

    /// Reads the chunk that would have the event at this position: the last one that begins at or before it.
    async fn seal_chunk_at(&self, tenant: &TenantId, tree: i64, log_seq: LogSeq) -> Result<Option<Chunk>>;

    /// Reads the stored nodes of a level, by index. Missing ones are left out.
    async fn seal_nodes(&self, tenant: &TenantId, tree: i64, level: u32, indices: Range<u64>) -> Result<Vec<Node>>;

    /// Lists notes of a tree, of one kind or of all, newest first, before this number, at most `limit`.
    async fn seal_notes(
        &self,
        tenant: &TenantId,
        tree: i64,
        kind: Option<NoteKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<SealNote>>;

    /// Reads events with every sealed column, with `after` < log_seq ≤ `upto`, in order; see
    /// [`crate::ReadLog::page`]. Text that is not UTF-8 is read with replacement characters.
    async fn logged_events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Vec<LoggedEvent>>;

    /// Reads the same events as a tree grows by them.
    async fn unsealed_events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<SealPage>;
}
