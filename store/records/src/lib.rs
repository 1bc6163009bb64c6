//! Stored, listed and returned data as plain types: the nouns that the store, the engine and the protocol share. Every
//! number has its unit in its name or its type.
//!
//! *Never here:* I/O, SQL, actors.

mod change;
mod error;
mod failure;
mod generation;
mod log;
mod members;
mod rows;
mod run;
mod schema;
mod seal;
mod stray;

pub use change::{Change, ChangeAsker, ChangeEnd, ChangeFilter, ChangeOutcome, NewChange};
pub use error::{NEXT_MIGRATE, NEXT_SYNCHRONOUS, Result, StoreError};
pub use failure::{Failure, NewFailure, OpenFailures, Skip};
pub use generation::{Flip, Storage, Sweep};
pub use log::{
    AppendMode, EventFilter, HighWaterSample, LIST_BYTES_MAX, LogEnd, OpenWriter, PageLimit, Paged, SESSION_NAME,
    TraceEnds, Verdict,
};
pub use members::{Cordon, Member, MemberFacts};
pub use rows::{Checkpoint, Direction, KeyedRow, PrecedentFilter, PrecedentHit, RowOrder};
pub use run::{Creation, NewRun, Run, RunCause, RunMode, RunOutcome, RunProgress, RunState};
pub use schema::{SchemaFit, SchemaStatus};
pub use seal::{
    FIRST_TREE, LoggedEvent, NewSealNote, NoteKind, SealBatch, SealFork, SealNote, SealPage, SealTree, Standbys,
    TreeState,
};
pub use stray::Stray;

use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Changes, LogSeq, Projection, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Kind of database behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// PostgreSQL 14 or newer.
    Postgres,
    /// The embedded store.
    Sqlite,
}

/// One projection of one tenant: the unit of ownership.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Name of the projection, from the catalogue.
    pub projection: &'static str,
}

impl Scope {
    /// Creates the scope of this projection.
    pub fn new(tenant: &TenantId, projection: &dyn Projection) -> Scope {
        Scope { tenant: tenant.clone(), projection: projection.name() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.projection)
    }
}

/// The rows that a scope's readers see, or that a rebuild prepares beside them. Unique in the database, growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub i64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The fencing token: a counter that only grows, plus a random incarnation. The incarnation keeps a database that lost
/// its tail from issuing the same epoch twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counter that grows by one with each owner, takeover and flip.
    pub counter: i64,
    /// Random token, drawn anew each time.
    pub token: Uuid,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.counter)
    }
}

/// A running process, as ownership sees it. A restart under the same name is another incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Name of the node, for people.
    pub node: String,
    /// Random id, drawn at start.
    pub incarnation: Uuid,
}

/// The right to write a scope, as long as no newer epoch was taken. It is cheap to copy and proves nothing by itself:
/// every commit is checked in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Scope that is owned.
    pub scope: Scope,
    /// Owner of the scope.
    pub owner: Owner,
    /// The fencing token.
    pub epoch: Epoch,
    /// The live generation at that epoch.
    pub generation: Generation,
    /// Database session that writes under this lease (backend-specific). When it is lost, take a new epoch.
    pub session: i64,
    /// History of that session's server, as in [`HighWaterSample::history`]. A mark of another history means nothing
    /// here. None when there is only one history.
    pub history: Option<String>,
    /// Other node from which it was taken: that node's lease had ended, and it had not handed over.
    pub taken_from: Option<String>,
    /// Orders of the operators when it was taken. A pause that comes later takes a new epoch.
    pub orders: Orders,
}

/// Orders of the operators for a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// The pause that holds.
    pub paused: Option<Paused>,
    /// Positions of the events that are skipped.
    pub skips: BTreeSet<LogSeq>,
}

/// The right to write a generation that a rebuild prepares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildLease {
    /// Scope of the generation.
    pub scope: Scope,
    /// Run that builds it.
    pub run_id: Uuid,
    /// Generation that is built.
    pub generation: Generation,
    /// Fencing token of the job, on the generation's row.
    pub epoch: Epoch,
    /// Session as in [`Lease::session`].
    pub session: i64,
    /// History as in [`Lease::history`].
    pub history: Option<String>,
}

/// Durable position of a scope or a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Cursor: everything up to here is applied.
    pub cursor: LogSeq,
    /// Digest of the rows at the cursor.
    pub digest: RollingDigest,
    /// Version of the projection's rules that wrote the rows.
    pub version: i32,
}

/// Result of an attempt to take a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one per attempt, taken apart by its caller at once")]
pub enum Acquisition {
    /// The caller owns it, from this position on.
    Acquired(Lease, Position),
    /// Another owner's lease is still running.
    Held {
        /// Name of that owner.
        by: String,
        /// Remaining time of its lease, on the database's clock.
        expires_in: Duration,
    },
}

/// One batch of one scope or build: applied whole or not at all.
pub struct BatchCommit<'a> {
    /// Projection that made it; it names the tables.
    pub projection: &'a dyn Projection,
    /// Cursor at which it was computed. Checked.
    pub from: LogSeq,
    /// Cursor that it moves to, ≥ `from`.
    pub to: LogSeq,
    /// Changes of the batch. May be empty: the scanned position is persisted all the same.
    pub changes: &'a Changes,
    /// Digest after the batch.
    pub digest: &'a RollingDigest,
    /// True when a digest checkpoint is added at `to` (live batches only).
    pub checkpoint: bool,
    /// Events between `from` and `to` that were left out ([`Skip`]). If there is any, the generation deviates from then
    /// on.
    pub skipped: &'a [LogSeq],
    /// Growth of the tenant's tree, in a batch of the scope `seal`.
    pub seal: Option<&'a SealBatch>,
}

/// A scope as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeRow {
    /// Scope of the row.
    pub scope: Scope,
    /// Name of the owner, if there is one.
    pub owner: Option<String>,
    /// True when that owner's lease still runs.
    pub owner_live: bool,
    /// Epoch of the scope.
    pub epoch: Epoch,
    /// Generation that readers see.
    pub generation: Generation,
    /// Cursor, digest and version.
    pub position: Position,
    /// Time of the cursor's last move, RFC 3339.
    pub updated_at: String,
    /// Seconds since then, on the database's clock.
    pub cursor_age_seconds: f64,
    /// Pause of the scope, with the operator and the reason; none when it is not paused.
    pub paused: Option<Paused>,
    /// True when the live generation left a skipped event out: its rows are not what the whole log gives. A rebuild
    /// without a skip ends it.
    pub deviating: bool,
    /// Last verify of the live generation, when it found that its rows are not what the log gives.
    pub drift: Option<Drift>,
}

/// Finding of a verify. It is remembered until a rebuild replaces the rows or another verify finds them right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Time of the finding, RFC 3339.
    pub at: String,
    /// Run that found it; its report names the first rows that differ.
    pub run_id: Uuid,
}

/// Finding of a verify about one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Projection of the run's tenant.
    pub projection: &'static str,
    /// Generation that was live in the verify's snapshot.
    pub generation: Generation,
    /// True when anything differed.
    pub drifted: bool,
}

/// A durable request to leave a scope's events alone: it survives restarts and changes of owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Start of the pause, RFC 3339.
    pub at: String,
    /// Reason, for people.
    pub reason: String,
    /// Operator who requested it, for people.
    pub by: String,
}

/// Scope without its digest, which is most of a [`ScopeRow`]: for lists of many thousands of scopes.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeHead {
    /// Scope of this head.
    pub scope: Scope,
    /// Name of the owner, if there is one.
    pub owner: Option<String>,
    /// True when that owner's lease still runs.
    pub owner_live: bool,
    /// Counter of the epoch.
    pub epoch: i64,
    /// Generation that readers see.
    pub generation: Generation,
    /// Cursor: everything up to here is applied.
    pub cursor: LogSeq,
    /// Version of the rules that wrote its rows.
    pub version: i32,
    /// Seconds since the cursor's last move, on the database's clock.
    pub cursor_age_seconds: f64,
    /// Pause of the scope; none when it is not paused.
    pub paused: Option<Paused>,
    /// True when the live generation left a skipped event out.
    pub deviating: bool,
    /// Drift that the last verify of the live generation found.
    pub drift: Option<Drift>,
}

impl From<ScopeRow> for ScopeHead {
    fn from(row: ScopeRow) -> ScopeHead {
        ScopeHead {
            scope: row.scope,
            owner: row.owner,
            owner_live: row.owner_live,
            epoch: row.epoch.counter,
            generation: row.generation,
            cursor: row.position.cursor,
            version: row.position.version,
            cursor_age_seconds: row.cursor_age_seconds,
            paused: row.paused,
            deviating: row.deviating,
            drift: row.drift,
        }
    }
}

/// A tenant, and the progress of its events and scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantHead {
    /// Tenant of this head.
    pub tenant: TenantId,
    /// Position of its last event; 0 when it has none.
    pub last_log_seq: LogSeq,
    /// Number of its scopes: projections that were ever begun.
    pub scopes: u64,
    /// Cursor of the rearmost of them; none without scopes.
    pub cursor: Option<LogSeq>,
    /// Number of paused scopes among them.
    pub paused: u64,
}

/// Distance of a cursor from the mark.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// This tenant's events with cursor < log_seq ≤ mark, counted up to the bound.
    pub events: u64,
    /// True when the bound was reached: there may be more.
    pub more: bool,
    /// Age of the oldest of them, seconds; 0 when there is none.
    pub seconds: f64,
}

/// Counts of the scopes of a database that stand out, and of its open failures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopeCounts {
    /// Poison events that stop a scope.
    pub open_failures: u64,
    /// Scopes that an operator paused.
    pub paused: u64,
    /// Scopes whose live rows leave a skipped event out.
    pub deviating: u64,
    /// Scopes in whose live rows the last verify found drift.
    pub drifted: u64,
}

/// Filter for lists of failures, skips or runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Tenant of the listed items; all tenants when none.
    pub tenant: Option<TenantId>,
    /// Projection of the listed items (a run for `all` matches every one).
    pub projection: Option<&'static str>,
    /// True for open failures, skips that hold, or queued or running runs only.
    pub open_only: bool,
    /// Most items of the list; the newest come first.
    pub limit: usize,
    /// Failure before which the list starts: only older ones.
    pub before_failure: Option<i64>,
    /// Skip before which the list starts: only older ones.
    pub before_skip: Option<i64>,
    /// Run before which the list starts: only older ones.
    pub before_run: Option<Uuid>,
}

/// A stored event and its tenant, as an export over all tenants shows it.
pub type TenantEvent = (TenantId, StoredEvent);
