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

pub mod crash;
#[cfg(feature = "throwaway-postgres")]
pub mod launch;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod metadata;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod since;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "throwaway-postgres")]
pub mod throwaway;
mod url;

pub use decisiongraph_records::*;
pub use url::{DatabaseUrl, StoreOptions, open};

use async_trait::async_trait;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Admitted, LogEvent, LogSeq, Needs, Prior, Projection, Recalled, Row, TenantId};
use futures_util::stream::BoxStream;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

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
pub trait Store: Send + Sync + 'static {
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

    /// Declares that this process is alive for `ttl` from now, on the database's clock. First call and renewal are
    /// alike. `fenced` when another incarnation lives under the same name. A clock that is set back ends the leases
    /// that were given under the time before. Leases with no more than twice their `ttl` left remain. A live process
    /// renews its own.
    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()>;

    /// Sends the heartbeat of a node: [`Store::heartbeat`], and the facts that the other nodes need.
    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()>;

    /// Gives up everything this process holds, whatever its number. Its scopes then have no owner, and it is no member.
    async fn leave(&self, owner: &Owner) -> Result<()>;

    /// Ends the lease of another process that is known to be gone. Its scopes then have no owner. It stays among the
    /// members, as a dead one, until it returns or is forgotten. If it is alive after all, its next heartbeat restores
    /// its lease.
    async fn bury(&self, owner: &Owner) -> Result<()>;

    /// Forgets a dead node, and the operators' orders for it. False when no dead node has this name.
    async fn forget(&self, node: &str) -> Result<bool>;

    /// Ends the leases of processes of this machine that are known to be gone ([`process::is_gone`]). Their successors
    /// then need not wait. Returns the owners of these leases.
    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>>;

    /// Gives up this process's scopes of these tenants, after all its workers have left them: leases that still exist
    /// become void. Waits for commits that are under way. Returns the number of scopes.
    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64>;

    /// Records, durably and by name, that a node takes no more tenants. With `draining` it also gives away the tenants
    /// it has. The latest call counts.
    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()>;

    /// Ends the cordon. Not an error when there is none.
    async fn uncordon(&self, node: &str) -> Result<()>;

    /// Takes the scope with a new epoch if its owner is none, or this owner, or one with an ended lease. Creates the
    /// scope and its first generation when there is none. Ends a stale writer's session first, where the database can.
    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition>;

    /// Gives the scope up, if the lease still holds it. Not an error when it does not.
    async fn release_scope(&self, lease: &Lease) -> Result<()>;

    /// Pauses the scope, durably; creates it when there is none. Idempotent: the first reason stays. Owner and cursor
    /// do not change; the epoch does. A worker of the scope is therefore `fenced` at its next commit, reads the scope
    /// again and sees [`ScopeRow::paused`]. Taking a paused scope is not refused: the new owner checks the pause.
    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow>;

    /// Ends the pause. Not an error when there is none; `not_found` when there is no such scope.
    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow>;

    // ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Commits a batch to the live generation, durably, or changes nothing. `fenced` when epoch, generation or cursor
    /// are not the expected ones, or when the lease's session is gone.
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()>;

    /// Commits a batch to a generation under construction.
    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()>;

    // ── generations ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts a new, empty generation for this run, at the log's origin.
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

    // ── failures and runs ───────────────────────────────────────────────────────────────────────────────────────

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

    /// Starts a job: `conflict` when a live job holds one of its scopes. A job whose node is gone no longer holds
    /// anything and is marked failed. The same request under the id of an existing job starts nothing and returns that
    /// job ([`NewRun::repeated`]). A command may therefore be sent again when its answer was lost. Another request
    /// under that id is `conflict`.
    async fn create_run(&self, run: &NewRun) -> Result<Creation>;

    /// Takes over an orphaned, failed or cancelled job: `running` again, by this owner. `conflict` when it runs
    /// elsewhere or one of its scopes is held by another job.
    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> Result<Run>;

    /// Writes progress and returns the job in its present state (with `cancel_requested`). `fenced` when another
    /// process has adopted it.
    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run>;

    /// Ends a job and frees its scopes. `fenced` when another process has adopted it.
    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run>;

    /// Remembers a running verify's finding about these scopes of its tenant ([`ScopeRow::drift`]), or that they are
    /// clean now. A scope that has another live generation by now is not changed. Nothing is changed when another
    /// process has adopted the job.
    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()>;

    /// Asks a job to stop at its next batch. An orphaned job is cancelled at once. `not_found`; `conflict` when it has
    /// ended.
    async fn request_cancel(&self, run_id: Uuid) -> Result<Run>;

    // ── the record of changes ───────────────────────────────────────────────────────────────────────────────────

    /// Records a change that an operator requested, before it is carried out. Returns its number.
    async fn note_change(&self, change: &NewChange) -> Result<i64>;

    /// Records the outcome of a change. The first outcome stays.
    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()>;

    // ── read views ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Opens a view whose reads each see the committed state at their start.
    async fn view(&self) -> Result<Box<dyn ReadView>>;

    /// Opens a view whose reads all see one instant and can change nothing (REPEATABLE READ, READ ONLY). Ends when
    /// dropped.
    async fn snapshot(&self) -> Result<Box<dyn ReadView>>;
}

/// End of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// It completed its work; its findings, as JSON.
    Completed(String),
    /// It stopped because an operator asked.
    Cancelled,
    /// It could not continue.
    Failed(decisiongraph_projections::Refusal),
}

/// All reading operations.
#[async_trait]
pub trait ReadView: Send + Sync {
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

    /// Lists every node that joined and has not left, by name, including the dead nodes of the last day.
    async fn members(&self) -> Result<Vec<Member>>;

    /// Lists the tenants with a scope that this process owns. Reads every scope: meant for rare changes, not for
    /// polling.
    async fn tenants_of(&self, owner: &Owner) -> Result<Vec<TenantId>>;

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

    /// Reads the scope, if it was ever acquired.
    async fn scope(&self, scope: &Scope) -> Result<Option<ScopeRow>>;

    /// True when the scope's live generation is the one that this run built and flipped to.
    async fn flipped_by(&self, scope: &Scope, run_id: Uuid) -> Result<bool>;

    /// Lists all scopes, or those of one tenant, by tenant and in catalogue order.
    async fn scopes(&self, tenant: Option<&TenantId>) -> Result<Vec<ScopeRow>>;

    /// Lists scopes without their digests, by tenant behind `after_tenant`, of at most `tenants_max` tenants, for dumps
    /// of many thousands of scopes.
    async fn scope_heads(&self, after_tenant: Option<&TenantId>, tenants_max: usize) -> Result<Vec<ScopeHead>>;

    /// Counts the scopes of the database that stand out, and the open failures. Costs one pass over the scopes: meant
    /// for rare calls.
    async fn scope_counts(&self) -> Result<ScopeCounts>;

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

    /// Lists the digest checkpoints of a scope, newest first, at most `limit`.
    async fn checkpoints(&self, scope: &Scope, limit: usize) -> Result<Vec<Checkpoint>>;

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

    // ── failures and runs ───────────────────────────────────────────────────────────────────────────────────────

    /// Lists failures, newest first, at most [`LIST_BYTES_MAX`] bytes of them.
    async fn failures(&self, filter: &ListFilter) -> Result<Paged<Failure>>;

    /// Reads one failure.
    async fn failure(&self, failure_id: i64) -> Result<Option<Failure>>;

    /// Lists the skips of a scope that hold, by log_seq.
    async fn skips(&self, scope: &Scope) -> Result<Vec<Skip>>;

    /// Lists skips of all scopes or some, newest first, at most [`LIST_BYTES_MAX`] bytes of them. With `open_only`,
    /// only the skips that hold.
    async fn all_skips(&self, filter: &ListFilter) -> Result<Paged<Skip>>;

    /// Lists jobs, newest first, at most [`LIST_BYTES_MAX`] bytes of them.
    async fn runs(&self, filter: &ListFilter) -> Result<Paged<Run>>;

    /// Lists the changes that operators requested, latest first: of this tenant (or of all, and of none), before this
    /// one. At most `limit`, and at most [`LIST_BYTES_MAX`] bytes.
    async fn changes(&self, tenant: Option<&TenantId>, before: Option<i64>, limit: usize) -> Result<Paged<Change>>;

    /// Reads one job.
    async fn run(&self, run_id: Uuid) -> Result<Option<Run>>;
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
