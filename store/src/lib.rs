//! The only code that talks to a database: one contract ([`Store`], [`ReadView`]), two backends, one conformance suite
//! (`tests/`) that both pass.
//!
//! *Never here:* retries, timers, reconnect loops, knowledge of actors, projection rules. A call does one thing once and
//! says how it ended; whoever drives the store decides what to do next.
//!
//! # The commit protocol
//!
//! One row a scope holds owner, epoch, cursor, live generation, rolling digest and the writer's session; takeover, flip and
//! commit all update *that* row, so they cannot interleave.
//!
//! ```text
//!   acquire_scope ──▶ Lease(epoch n) ──▶ commit, commit, commit …
//!        ▲                                  │ epoch, generation or cursor is not what the batch was computed at
//!        │                                  ▼
//!        └────────── epoch n+1 ◀──────── fenced: rolled back, nothing changed
//! ```
//!
//! One batch is one transaction: rows, resolved failures, checkpoint when due, and last of all the scope row
//! `WHERE cursor = from AND epoch = mine AND generation = mine`, which raises when it does not hold. A lost connection during
//! COMMIT is `outcome_unknown`: take a new epoch, then read the cursor. Never guess.

pub mod crash;
#[cfg(feature = "throwaway-postgres")]
pub mod launch;
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

/// What a listener hears: each channel coalesced by itself, some messages may be lost.
#[derive(Debug)]
pub struct Wakes {
    /// Events were appended.
    pub log: tokio::sync::mpsc::Receiver<()>,
    /// A node came or left, or operators want something else of one.
    pub members: tokio::sync::mpsc::Receiver<()>,
}

/// All that changes a database, and the way to its read views.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Which database this is.
    fn backend(&self) -> Backend;

    /// Where it is, without secrets: `postgres://user@host:port/database` or `sqlite:PATH`.
    fn address(&self) -> String;

    /// Ends what is under way, for a process that ends. An embedded store writes no more from here on, and leaves its whole log in
    /// the one file, unless another process still has it open.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    // ── schema ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Brings the schema up to this program's. Safe to run twice and by two processes at once; `version_mismatch` when the
    /// database is newer. Returns the names of the migrations it applied.
    async fn migrate(&self) -> Result<Vec<String>>;

    /// Why [`Store::migrate`] takes long, if it waits for somebody, and what to do about it.
    async fn migration_waits_for(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// The schema of the database and of the program. Works on an empty database.
    async fn schema_status(&self) -> Result<SchemaStatus>;

    // ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Appends events of one tenant, in order, in one transaction, by the reference's rules
    /// ([`decisiongraph_projections::sequence::plan`]): one verdict an event. Every check comes before a `log_seq` is drawn. After
    /// the commit, readers are woken ([`Store::wakes`]).
    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>>;

    /// A sample of the log's end; see [`HighWaterSample`]. `unavailable` on a server that cannot be read safely (a standby, a
    /// sequence with a cache); the message says what is wrong.
    async fn sample_high_water(&self) -> Result<HighWaterSample>;

    /// Half of such a sample, for one who only asks whether anything was drawn since. Proves nothing by itself.
    async fn log_end(&self) -> Result<LogEnd>;

    /// An error where nothing can be written now: it names the cause, as far as the database says so (a standby, read-only, commits that
    /// wait for a synchronous standby, a file that another program has locked). For one whose write failed or is not answered.
    async fn writable(&self) -> Result<()>;

    /// Which of these writers are still open.
    async fn writers_still_open(&self, writers: &[OpenWriter]) -> Result<Vec<OpenWriter>>;

    /// Messages after appends and after changes of membership. They end when the connection is lost.
    async fn wakes(&self) -> Result<Wakes>;

    /// Ends every session, also those whose answer somebody waits for: they get `unavailable` (of a commit: `outcome_unknown`). For a
    /// caller who has waited for too long, and for one who finds that the server is another than before. New sessions are made as needed.
    fn hang_up(&self) {}

    // ── ownership ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Says that this process is alive for `ttl` from now, on the database's clock. First call and renewal alike; `fenced` when
    /// another incarnation lives under the same name. A clock that is set back ends the leases that were given under the time before, but
    /// for those that have no more than twice their `ttl` left: who is alive renews its own.
    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()>;

    /// The heartbeat of a node: [`Store::heartbeat`], and what the others have to know of it.
    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()>;

    /// Gives up everything this process holds, whatever its number: nobody owns its scopes any more, and it is no member.
    async fn leave(&self, owner: &Owner) -> Result<()>;

    /// Ends the lease of another process that is known to be gone: nobody owns its scopes any more. It stays among the members, as a dead
    /// one, until it comes back or is forgotten. Were it alive after all, its next heartbeat brings its lease back.
    async fn bury(&self, owner: &Owner) -> Result<()>;

    /// Forgets a dead node, and what operators wanted of it. False when no dead node has this name.
    async fn forget(&self, node: &str) -> Result<bool>;

    /// Ends the leases of processes of this machine that are known to be gone ([`process::is_gone`]): their successors need not wait.
    /// Whose they were.
    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>>;

    /// Gives up this process's scopes of these tenants, when none of its workers is at them any more: leases that are still about are
    /// void. Waits for commits that are under way. How many scopes it were.
    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64>;

    /// Notes, durably and by name, that a node takes no more tenants, and with `draining` that it gives away those it has. The
    /// latest word counts.
    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()>;

    /// Ends that. Not an error when there is nothing to end.
    async fn uncordon(&self, node: &str) -> Result<()>;

    /// Takes the scope with a new epoch if nobody, or only an owner whose lease is over, or this very owner holds it. Creates the
    /// scope and its first generation when there is none. Ends a stale writer's session first, where the database can.
    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition>;

    /// Gives the scope up, if the lease still holds it. Not an error when it does not.
    async fn release_scope(&self, lease: &Lease) -> Result<()>;

    /// Pauses the scope, durably; creates it when there is none. Idempotent: the first reason stays. Owner and cursor do not change;
    /// the epoch does, so that whoever works on the scope is `fenced` at its next commit, reads it again and sees
    /// [`ScopeRow::paused`]. Taking a paused scope is not refused: whoever takes it looks.
    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow>;

    /// Ends the pause. Not an error when there is none; `not_found` when there is no such scope.
    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow>;

    // ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Commits a batch to the live generation, durably, or changes nothing. `fenced` when epoch, generation or cursor are not the
    /// expected ones, or the lease's session is gone.
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()>;

    /// Commits a batch to a generation under construction.
    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()>;

    // ── generations ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts a new, empty generation for this run, at the log's origin.
    async fn begin_build(&self, scope: &Scope, run_id: Uuid, storage: Storage) -> Result<BuildLease>;

    /// Takes over this run's unfinished generation with a new fence, if there is one.
    async fn resume_build(&self, scope: &Scope, run_id: Uuid) -> Result<Option<(BuildLease, Position)>>;

    /// Makes look-ups by these columns of a generation under construction cheap from now on (table, column; column 0 is the key, by
    /// which rows are also changed and removed). Whoever asks for prior rows of a build, or commits a batch that changes some, calls it
    /// first: without it the answer is the same and every row is read for it. May take long; safe to repeat.
    async fn index_build(&self, lease: &BuildLease, columns: &[(usize, usize)]) -> Result<()>;

    /// Makes the generation ready to be read: late indexes, attached partition, statistics. A key that is there twice is found here at
    /// the latest: an error that says so. May take long; safe to repeat.
    async fn finish_build(&self, lease: &BuildLease) -> Result<()>;

    /// Makes the built generation the live one, if it is not behind. It is behind while the log holds an event between its cursor and the
    /// live one (a live cursor above the end of the log holds up nothing). One transaction that locks the scope row, then the generation's, moves generation, cursor, digest and version, and takes a new epoch without changing the owner (so that a batch prepared for the old generation is
    /// fenced). The old generation is retired.
    async fn flip(&self, lease: &BuildLease) -> Result<Flip>;

    /// Retires a generation under construction (cancel, giving up).
    async fn abandon_build(&self, scope: &Scope, run_id: Uuid) -> Result<()>;

    /// Deletes rows of retired generations, at most about `rows_max` in one call, once every transaction older than their
    /// retirement has ended.
    async fn sweep(&self, rows_max: u64) -> Result<Sweep>;

    // ── failures and runs ───────────────────────────────────────────────────────────────────────────────────────

    /// Records that the scope met a poison event: one open row an event, counting attempts. Open failures of the scope at or below
    /// a committed cursor are resolved by the commit that passes them.
    async fn record_failure(&self, failure: &NewFailure) -> Result<Failure>;

    /// Leaves the event of an open failure out of its projection from the next batch on; see [`Skip`]. The failure is resolved by the
    /// commit that passes it. The same failure again gives the skip that holds; `not_found` when there is no such failure, `conflict`
    /// when it is resolved or its event is skipped because of another failure.
    async fn skip_event(&self, failure_id: i64, reason: &str, by: &str) -> Result<Skip>;

    /// Ends the skip that holds for this event; `not_found` when there is none. Rows that were written past the event stay until a
    /// rebuild.
    async fn revoke_skip(&self, scope: &Scope, log_seq: LogSeq) -> Result<Skip>;

    /// Starts a job: `conflict` when a live job holds one of its scopes. A job whose node is gone no longer holds anything and is
    /// marked failed. The same request under the id of an existing job starts nothing and gives that job ([`NewRun::repeated`]), so a
    /// command may be sent again when its answer was lost; another request under that id is `conflict`.
    async fn create_run(&self, run: &NewRun) -> Result<Creation>;

    /// Takes over an orphaned, failed or cancelled job: `running` again, by this owner. `conflict` when it runs elsewhere or one of
    /// its scopes is held by another job.
    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> Result<Run>;

    /// Writes progress and returns the job as it now is (with `cancel_requested`). `fenced` when another process has adopted it.
    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run>;

    /// Ends a job and frees its scopes. `fenced` when another process has adopted it.
    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run>;

    /// Remembers what a running verify found of these scopes of its tenant ([`ScopeRow::drift`]), or that they are clean now. A scope whose
    /// live generation is another one by now stays as it is; so does everything when another process has adopted the job.
    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()>;

    /// Asks a job to stop at its next batch. An orphaned job is cancelled at once. `not_found`; `conflict` when it has ended.
    async fn request_cancel(&self, run_id: Uuid) -> Result<Run>;

    // ── the record of changes ───────────────────────────────────────────────────────────────────────────────────

    /// Notes a change that an operator asked for and that is about to be carried out; its number.
    async fn note_change(&self, change: &NewChange) -> Result<i64>;

    /// Notes what came of it. The first outcome stays.
    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()>;

    // ── read views ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Reads that each see what is committed when they start.
    async fn view(&self) -> Result<Box<dyn ReadView>>;

    /// Reads that all see one instant and can change nothing (REPEATABLE READ, READ ONLY). Ends when dropped.
    async fn snapshot(&self) -> Result<Box<dyn ReadView>>;
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// It did what it was for; what it found, as JSON.
    Completed(String),
    /// It stopped because somebody asked.
    Cancelled,
    /// It could not go on.
    Failed(decisiongraph_projections::Refusal),
}

/// All that reads.
#[async_trait]
pub trait ReadView: Send + Sync {
    // ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Events with `after` < log_seq ≤ `upto`, in order. None: there are none; an event that is too large is an error.
    async fn page(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>>;

    /// The `trace_seq` of each trace's latest event (greatest `log_seq`) at or below `upto`; traces without one are left out.
    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> Result<HashMap<Arc<str>, i64>>;

    /// The parts that the projection keeps ([`Projection::recall`]) of the events of its
    /// [`history_types`](Projection::history_types) of these traces at or below `upto`, in order. One event at a time is in memory. None
    /// when the parts have more than `bytes_max` bytes.
    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>>;

    /// Full events with `after` < log_seq ≤ `upto`, in order. One that cannot be read whole says so ([`StoredEvent::fault`]).
    async fn events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>>;

    /// The full events of one trace with `log_seq` > `after`, in order.
    async fn trace_events(
        &self,
        tenant: &TenantId,
        trace_id: &str,
        after: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>>;

    /// The tenant's last event at or below `upto` (or at all); 0 when it has none.
    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq>;

    /// How far cursors are behind `mark`, in the order of these, counting at most `bound` events of each.
    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, bound: u64) -> Result<Vec<Lag>>;

    /// About how many events the tenant has above `after`, counted up to `bound`.
    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> Result<u64>;

    /// Every node that said it is one and has not left, by name: the dead ones of the last day, too.
    async fn members(&self) -> Result<Vec<Member>>;

    /// The tenants of which this process owns a scope. Reads every scope: meant for rare changes, not for polling.
    async fn tenants_of(&self, owner: &Owner) -> Result<Vec<TenantId>>;

    /// Every tenant that has events, by id.
    async fn tenants(&self) -> Result<Vec<TenantId>>;

    /// What every list leaves out because it is no tenant's, by position, at most about `limit`. Costs a step a tenant where the schema does
    /// not keep such rows out yet, else nothing.
    async fn strays(&self, limit: usize) -> Result<Vec<Stray>>;

    /// The tenants that have events or scopes, by id behind `after`, at most `limit`. Costs a few look-ups a tenant.
    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>>;

    /// Every tenant that has events, by id, and its last one. Costs two look-ups a tenant.
    async fn last_log_seqs(&self) -> Result<Vec<(TenantId, LogSeq)>>;

    /// The tenants that have events with `after` < log_seq ≤ `upto`, each with its last one, in the order of these; at most `limit`.
    /// Ask again with `after` = the last answer's position. Costs what the stretch holds, whatever the log's length.
    async fn tenants_with_events(&self, after: LogSeq, upto: LogSeq, limit: usize) -> Result<Vec<(TenantId, LogSeq)>>;

    /// The tenants that have work to do: at least one projection of the catalogue is not paused and has no scope yet, or a cursor
    /// below the tenant's last event at or below `upto`. Each with that last event, by tenant behind `after_tenant`, at most `limit`.
    /// Costs a few look-ups a tenant, whatever the log's length: meant for a start, not for polling.
    async fn tenants_behind(
        &self,
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, LogSeq)>>;

    // ── scopes and rows ─────────────────────────────────────────────────────────────────────────────────────────

    /// The scope, if it was ever acquired.
    async fn scope(&self, scope: &Scope) -> Result<Option<ScopeRow>>;

    /// Whether the scope's live generation is the one that this run built and flipped to.
    async fn flipped_by(&self, scope: &Scope, run_id: Uuid) -> Result<bool>;

    /// All scopes, or those of one tenant, by tenant and in catalogue order.
    async fn scopes(&self, tenant: Option<&TenantId>) -> Result<Vec<ScopeRow>>;

    /// Scopes without their digests, by tenant behind `after_tenant`, of at most `tenants_max` tenants: what a dump of many
    /// thousands needs.
    async fn scope_heads(&self, after_tenant: Option<&TenantId>, tenants_max: usize) -> Result<Vec<ScopeHead>>;

    /// Scopes of the database that stand out, and open failures. Costs one pass over the scopes: meant for once in a while.
    async fn scope_counts(&self) -> Result<ScopeCounts>;

    /// Answers the rows of [`Needs`] (not its history) in the given generation; none when they have more than `bytes_max` bytes. A row
    /// whose hash is equal and whose text is not is `internal`: a collision.
    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> Result<Option<Prior>>;

    /// All rows of table `table` (index) of a generation.
    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> Result<RowStream>;

    /// The digest checkpoints of a scope, newest first, at most `limit`.
    async fn checkpoints(&self, scope: &Scope, limit: usize) -> Result<Vec<Checkpoint>>;

    // ── queries over the read models ────────────────────────────────────────────────────────────────────────────

    /// Rows of `dg_cg_edges` that touch one of these nodes, by the bytes of `edge_id`, behind `after_edge_id`.
    async fn edges_touching(
        &self,
        tenant: &TenantId,
        generation: Generation,
        nodes: &BTreeSet<String>,
        edge_types: Option<&[String]>,
        after_edge_id: Option<&str>,
        limit: PageLimit,
    ) -> Result<Paged<Row>>;

    /// Rows of `dg_cg_edges` of one node, by `log_seq`, `edge_id`, behind `after`.
    async fn edges_of(
        &self,
        tenant: &TenantId,
        generation: Generation,
        node_id: &str,
        direction: Direction,
        after: Option<(LogSeq, &str)>,
        limit: PageLimit,
    ) -> Result<Paged<Row>>;

    /// Finished traces that match, in the order of the reference, at most `bytes_max` bytes of them. The filter is already validated.
    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> Result<Paged<PrecedentHit>>;

    // ── failures and runs ───────────────────────────────────────────────────────────────────────────────────────

    /// Failures, newest first, at most [`LIST_BYTES_MAX`] bytes of them.
    async fn failures(&self, filter: &ListFilter) -> Result<Paged<Failure>>;

    /// One failure.
    async fn failure(&self, failure_id: i64) -> Result<Option<Failure>>;

    /// The skips of a scope that hold, by log_seq.
    async fn skips(&self, scope: &Scope) -> Result<Vec<Skip>>;

    /// Skips of all scopes or some, newest first, at most [`LIST_BYTES_MAX`] bytes of them; with `open_only` those that hold.
    async fn all_skips(&self, filter: &ListFilter) -> Result<Paged<Skip>>;

    /// Jobs, newest first, at most [`LIST_BYTES_MAX`] bytes of them.
    async fn runs(&self, filter: &ListFilter) -> Result<Paged<Run>>;

    /// What operators asked for, latest first: of this tenant (or of all, and of none), before this one; at most `limit`, and at most
    /// [`LIST_BYTES_MAX`] bytes.
    async fn changes(&self, tenant: Option<&TenantId>, before: Option<i64>, limit: usize) -> Result<Paged<Change>>;

    /// One job.
    async fn run(&self, run_id: Uuid) -> Result<Option<Run>>;
}

/// Recomputes the rolling digest of a generation from its rows: what an edited row cannot hide from.
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
