//! The only code that talks to a database: one contract ([`Store`], [`ReadView`]), two backends, one conformance suite
//! (`tests/`) that both pass.
//!
//! *Never here:* retries, timers, reconnect loops, knowledge of actors, projection rules. A call does one thing once
//! and reports its outcome; the caller decides the next step.
//!
//! # The commit protocol
//!
//! One row per scope holds owner, epoch, cursor, live generation, rolling digest and the writer's session. Takeover,
//! flip and commit all update *that* row, so they cannot interleave.
//!
//! ```text
//!   acquire_scope ──▶ Lease(epoch n) ──▶ commit, commit, commit …
//!        ▲                                  │ epoch, generation or cursor is not what the batch was computed at
//!        │                                  ▼
//!        └────────── epoch n+1 ◀──────── fenced: rolled back, nothing changed
//! ```
//!
//! One batch is one transaction: rows, resolved failures, checkpoint when due, and last of all the scope row. Its
//! condition is `WHERE cursor = from AND epoch = mine AND generation = mine`. The statement raises an error when it
//! does not hold. A lost connection during COMMIT is `outcome_unknown`: take a new epoch, then read the cursor. Never
//! guess.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[macro_use]
mod sql;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod columns;
pub mod crash;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod decide;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod decode;
#[cfg(feature = "throwaway-postgres")]
pub mod launch;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod metadata;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod names;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
mod sections;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod since;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "throwaway-postgres")]
pub mod throwaway;
mod url;

pub use decisiongraph_records::*;
pub use sections::*;
pub use url::{DatabaseUrl, StoreOptions, open};

use async_trait::async_trait;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Admitted, LogEvent, LogSeq, Needs, Prior, Projection, Recalled, Row, TenantId};
use futures_util::stream::BoxStream;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Rows of a projection, in chunks.
pub type RowStream = BoxStream<'static, Result<Vec<KeyedRow>>>;

/// Messages for a listener. Each channel is coalesced separately; some messages may be lost.
#[derive(Debug)]
pub struct Wakes {
    /// Events were appended.
    pub log: tokio::sync::mpsc::Receiver<()>,
    /// A node joined or left, or an operator changed a node's orders.
    pub members: tokio::sync::mpsc::Receiver<()>,
}

/// All operations that change a database, and the access to its read views.
#[async_trait]
pub trait Store: Scopes + Builds + Failures + Runs + Members + Changes + Send + Sync + 'static {
    /// Names the kind of database.
    fn backend(&self) -> Backend;

    /// Returns the address, without secrets: `postgres://user@host:port/database` or `sqlite:PATH`.
    fn address(&self) -> String;

    /// Ends the work under way, before the process ends. An embedded store writes no more from here on. It leaves its
    /// whole log in the one file, unless another process still has it open.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    // ── schema ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Brings the schema up to this program's. Safe to run twice and by two processes at once. `version_mismatch` when
    /// the database is newer. Returns the names of the migrations it applied.
    async fn migrate(&self) -> Result<Vec<String>>;

    /// Reports why [`Store::migrate`] takes long, if it waits for another session, and the remedy.
    async fn migration_waits_for(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Reads the schema of the database and of the program. Works on an empty database.
    async fn schema_status(&self) -> Result<SchemaStatus>;

    // ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Appends events of one tenant, in order, in one transaction, by the reference's rules
    /// ([`decisiongraph_projections::sequence::plan`]): one verdict per event. Every check comes before a `log_seq` is
    /// drawn. After the commit, readers are woken ([`Store::wakes`]).
    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>>;

    /// Samples the log's end; see [`HighWaterSample`]. `unavailable` on a server that cannot be read safely (a standby,
    /// a sequence with a cache); the message names the fault.
    async fn sample_high_water(&self) -> Result<HighWaterSample>;

    /// Reads half of such a sample, for callers that only ask if anything was drawn since. Proves nothing by itself.
    async fn log_end(&self) -> Result<LogEnd>;

    /// Fails when nothing can be written now. The error names the cause, as far as the database reports it. Causes: a
    /// standby, read-only, commits that wait for a synchronous standby, a file locked by another program. Callers use
    /// it when a write failed or is not answered.
    async fn writable(&self) -> Result<()>;

    /// Returns the writers of this list that are still open.
    async fn writers_still_open(&self, writers: &[OpenWriter]) -> Result<Vec<OpenWriter>>;

    /// Receives messages after appends and after changes of membership. They end when the connection is lost.
    async fn wakes(&self) -> Result<Wakes>;

    /// Ends every session, also sessions with a waiting caller: the caller gets `unavailable` (from a commit:
    /// `outcome_unknown`). Used after too long a wait, and when the server is another than before. New sessions are
    /// made as needed.
    fn hang_up(&self) {}

    // ── ownership ───────────────────────────────────────────────────────────────────────────────────────────────

    // ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Commits a batch to the live generation, durably, or changes nothing. `fenced` when epoch, generation or cursor
    /// are not the expected ones, or when the lease's session is gone.
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()>;

    /// Commits a batch to a generation under construction.
    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()>;

    // ── generations ─────────────────────────────────────────────────────────────────────────────────────────────

    // ── read views ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Opens a view whose reads each see the committed state at their start.
    async fn view(&self) -> Result<Box<dyn ReadView>>;

    /// Opens a view whose reads all see one instant and can change nothing (REPEATABLE READ, READ ONLY). Ends when
    /// dropped.
    async fn snapshot(&self) -> Result<Box<dyn ReadView>>;
}

/// All reading operations.
#[async_trait]
pub trait ReadView: ReadScopes + ReadFailures + ReadRuns + ReadMembers + ReadChanges + Send + Sync {
    // ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Reads events with `after` < log_seq ≤ `upto`, in order. An empty page means that there are none; an event that
    /// is too large is an error.
    async fn page(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>>;

    /// Reads the `trace_seq` of each trace's latest event (greatest `log_seq`) at or below `upto`. Traces without an
    /// event are left out.
    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> Result<HashMap<Arc<str>, i64>>;

    /// Reads the kept parts ([`Projection::recall`]) of these traces' events at or below `upto`, in order. Only events
    /// of the projection's [`history_types`](Projection::history_types) count. One event at a time is in memory. None
    /// when the parts have more than `bytes_max` bytes.
    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>>;

    /// Reads full events with `after` < log_seq ≤ `upto`, in order. An event that cannot be read whole is marked
    /// ([`StoredEvent::fault`]).
    async fn events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>>;

    /// Reads the full events of one trace with `log_seq` > `after`, in order.
    async fn trace_events(
        &self,
        tenant: &TenantId,
        trace_id: &str,
        after: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>>;

    /// Reads the position of the tenant's last event at or below `upto` (or of all); 0 when it has none.
    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq>;

    /// Computes the lags of cursors behind `mark`, in the order of the cursors, counting at most `bound` events of
    /// each.
    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, bound: u64) -> Result<Vec<Lag>>;

    /// Counts the tenant's events with `after` < log_seq ≤ `upto`, up to `bound`.
    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> Result<u64>;

    /// Lists every tenant that has events, by id.
    async fn tenants(&self) -> Result<Vec<TenantId>>;

    /// Lists the rows that every list leaves out because they belong to no tenant, by position, at most about `limit`.
    /// Costs one step per tenant when the schema does not keep such rows out yet, else nothing.
    async fn strays(&self, limit: usize) -> Result<Vec<Stray>>;

    /// Lists the tenants that have events or scopes, by id behind `after`, at most `limit`. Costs a few look-ups per
    /// tenant.
    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>>;

    /// Lists every tenant that has events, by id, with its last event. Costs two look-ups per tenant.
    async fn last_log_seqs(&self) -> Result<Vec<(TenantId, LogSeq)>>;

    /// Lists the tenants that have events with `after` < log_seq ≤ `upto`, at most `limit`. Each comes with its last
    /// such event, and these give the order. Ask again with `after` = the last answer's position. The cost depends on
    /// that stretch, not on the log's length.
    async fn tenants_with_events(&self, after: LogSeq, upto: LogSeq, limit: usize) -> Result<Vec<(TenantId, LogSeq)>>;

    /// Lists the tenants that have work to do. At least one projection of the catalogue is not paused and is behind. It
    /// has no scope yet, or a cursor below the tenant's last event at or below `upto`. Each tenant comes with that last
    /// event, by id behind `after_tenant`, at most `limit`. Costs a few look-ups per tenant, whatever the log's length:
    /// meant for a start, not for polling.
    async fn tenants_behind(
        &self,
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, LogSeq)>>;

    // ── scopes and rows ─────────────────────────────────────────────────────────────────────────────────────────

    /// Answers the rows of [`Needs`] (not its history) in the given generation. None when they have more than
    /// `bytes_max` bytes. A row with an equal hash and a different text is `internal`: a collision.
    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> Result<Option<Prior>>;

    /// Streams all rows of table `table` (index) of a generation.
    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> Result<RowStream>;

    // ── queries over the read models ────────────────────────────────────────────────────────────────────────────

    /// Lists rows of `dg_cg_edges` that touch one of these nodes, by the bytes of `edge_id`, behind `after_edge_id`.
    async fn edges_touching(
        &self,
        tenant: &TenantId,
        generation: Generation,
        nodes: &BTreeSet<String>,
        edge_types: Option<&[String]>,
        after_edge_id: Option<&str>,
        limit: PageLimit,
    ) -> Result<Paged<Row>>;

    /// Lists rows of `dg_cg_edges` of one node, by `log_seq`, `edge_id`, behind `after`.
    async fn edges_of(
        &self,
        tenant: &TenantId,
        generation: Generation,
        node_id: &str,
        direction: Direction,
        after: Option<(LogSeq, &str)>,
        limit: PageLimit,
    ) -> Result<Paged<Row>>;

    /// Lists finished traces that match, in the order of the reference, at most `bytes_max` bytes of them. The filter
    /// is already validated.
    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> Result<Paged<PrecedentHit>>;
}

/// Recomputes the rolling digest of a generation from its rows; an edited row always changes it.
pub async fn digest_of_rows(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<RollingDigest> {
    use futures_util::StreamExt as _;
    let mut digest = RollingDigest::default();
    for (index, table) in projection.tables().iter().enumerate() {
        let mut rows = view.rows(tenant, projection, generation, index, RowOrder::Key).await?;
        while let Some(chunk) = rows.next().await {
            for row in chunk? {
                digest.add(table, &row.row);
            }
        }
    }
    Ok(digest)
}
