//! What is stored, listed and answered, as plain data: the nouns that the store, the engine and the protocol share. Every
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
mod stray;

pub use change::{Change, NewChange};
pub use error::{NEXT_MIGRATE, NEXT_SYNCHRONOUS, Result, StoreError};
pub use failure::{Failure, NewFailure, Skip};
pub use generation::{Flip, Storage, Sweep};
pub use log::{
    AppendMode, HighWaterSample, LIST_BYTES_MAX, LogEnd, OpenWriter, PageLimit, Paged, SESSION_NAME, Verdict,
};
pub use members::{Cordon, Member, MemberFacts};
pub use rows::{Checkpoint, Direction, KeyedRow, PrecedentFilter, PrecedentHit, RowOrder};
pub use run::{Creation, NewRun, Run, RunMode, RunProgress, RunState};
pub use schema::{SchemaFit, SchemaStatus};
pub use stray::Stray;

use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Changes, LogSeq, Projection, TenantId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Which database a store speaks to.
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
    /// Whose log.
    pub tenant: TenantId,
    /// A name of the catalogue.
    pub projection: &'static str,
}

impl Scope {
    /// The scope of this projection.
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

/// The fencing token: a counter that only grows, plus a random incarnation, so that a database that lost its tail cannot
/// hand the same epoch out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Grows by one with each owner, takeover and flip.
    pub counter: i64,
    /// Drawn anew each time.
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
    /// Its name, for people.
    pub node: String,
    /// Drawn at start.
    pub incarnation: Uuid,
}

/// The right to write a scope, as long as nobody took a newer epoch. Cheap to copy; proves nothing by itself: every
/// commit is checked in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is owned.
    pub scope: Scope,
    /// By whom.
    pub owner: Owner,
    /// The fencing token.
    pub epoch: Epoch,
    /// The live generation at that epoch.
    pub generation: Generation,
    /// The database session that writes under this lease (backend-specific). When it is lost, take a new epoch.
    pub session: i64,
    /// Which history that session's server has, as in [`HighWaterSample::history`]: a mark of another one says nothing here. None where
    /// there is but one.
    pub history: Option<String>,
    /// The other node that it was taken from: its lease had ended, and it had not handed over.
    pub taken_from: Option<String>,
}

/// The right to write a generation that a rebuild prepares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildLease {
    /// Whose generation.
    pub scope: Scope,
    /// By which run.
    pub run_id: Uuid,
    /// What is built.
    pub generation: Generation,
    /// The job's own fence, on the generation's row.
    pub epoch: Epoch,
    /// See [`Lease::session`].
    pub session: i64,
    /// See [`Lease::history`].
    pub history: Option<String>,
}

/// Where a scope or a build stands, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Everything up to here is applied.
    pub cursor: LogSeq,
    /// The digest of the rows at the cursor.
    pub digest: RollingDigest,
    /// Version of the projection's rules that wrote the rows.
    pub version: i32,
}

/// What an attempt to take a scope gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquisition {
    /// It is ours, from here.
    Acquired(Lease, Position),
    /// Somebody else's lease is still running.
    Held {
        /// Who.
        by: String,
        /// How long its lease still runs, on the database's clock.
        expires_in: Duration,
    },
}

/// One batch of one scope or build: applied whole or not at all.
pub struct BatchCommit<'a> {
    /// The rules that made it; names the tables.
    pub projection: &'a dyn Projection,
    /// The cursor it was computed at. Checked.
    pub from: LogSeq,
    /// The cursor it moves to, ≥ `from`.
    pub to: LogSeq,
    /// What changes. May be empty: the scanned position is persisted all the same.
    pub changes: &'a Changes,
    /// The digest after it.
    pub digest: &'a RollingDigest,
    /// Whether to add a digest checkpoint at `to` (live batches only).
    pub checkpoint: bool,
    /// Events between `from` and `to` that were left out ([`Skip`]). Any: the generation deviates from then on.
    pub skipped: &'a [LogSeq],
}

/// A scope as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeRow {
    /// Which.
    pub scope: Scope,
    /// Who owns it (name), if anybody.
    pub owner: Option<String>,
    /// Whether that owner's lease still runs.
    pub owner_live: bool,
    /// The epoch.
    pub epoch: Epoch,
    /// The generation that readers see.
    pub generation: Generation,
    /// Cursor, digest, version.
    pub position: Position,
    /// When the cursor last moved, RFC 3339.
    pub updated_at: String,
    /// Seconds since then, on the database's clock.
    pub cursor_age_seconds: f64,
    /// Who asked that its events are left alone for now, and why.
    pub paused: Option<Paused>,
    /// Whether the live generation left a skipped event out: its rows are not what the whole log gives. A rebuild without a skip ends it.
    pub deviating: bool,
    /// The last verify of the live generation, when it found that its rows are not what the log gives.
    pub drift: Option<Drift>,
}

/// What a verify found, remembered until a rebuild replaces the rows or another verify finds them right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// When it was found, RFC 3339.
    pub at: String,
    /// The run that found it; its report names the first rows that differ.
    pub run_id: Uuid,
}

/// What a verify found of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Which projection of the run's tenant.
    pub projection: &'static str,
    /// The generation that was live in the verify's snapshot.
    pub generation: Generation,
    /// Whether anything differed.
    pub drifted: bool,
}

/// A durable request to leave a scope's events alone: it survives restarts and changes of owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when, RFC 3339.
    pub at: String,
    /// Why, for people.
    pub reason: String,
    /// Who asked, for people.
    pub by: String,
}

/// Who holds a scope and how far it is: a [`ScopeRow`] without what is large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeHead {
    /// Which.
    pub scope: Scope,
    /// Who owns it (name), if anybody.
    pub owner: Option<String>,
    /// Whether that owner's lease still runs.
    pub owner_live: bool,
    /// The epoch's counter.
    pub epoch: i64,
    /// Everything up to here is applied.
    pub cursor: LogSeq,
    /// Whether it is paused.
    pub paused: bool,
}

/// A tenant, and how far its events and scopes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantHead {
    /// Which.
    pub tenant: TenantId,
    /// Its last event; 0 when it has none.
    pub last_log_seq: LogSeq,
    /// Its scopes: projections that were ever begun.
    pub scopes: u64,
    /// The cursor of the rearmost of them; none without scopes.
    pub cursor: Option<LogSeq>,
    /// How many of them are paused.
    pub paused: u64,
}

/// How far a cursor is behind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// This tenant's events with cursor < log_seq ≤ mark, counted up to the bound.
    pub events: u64,
    /// Whether the bound was reached: there may be more.
    pub more: bool,
    /// Age of the oldest of them, seconds; 0 when there is none.
    pub seconds: f64,
}

/// How many scopes of a database stand out, and how many failures are open.
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

/// Which failures, skips or runs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Of this tenant; of all when none.
    pub tenant: Option<TenantId>,
    /// Of this projection (a run for `all` matches every one).
    pub projection: Option<&'static str>,
    /// Open failures, skips that hold, or runs that are queued or running, only.
    pub open_only: bool,
    /// Newest first, at most this many.
    pub limit: usize,
    /// Only failures older than this one.
    pub before_failure: Option<i64>,
    /// Only skips older than this one.
    pub before_skip: Option<i64>,
    /// Only runs older than this one.
    pub before_run: Option<Uuid>,
}

/// A stored event and its tenant, as an export over all tenants shows it.
pub type TenantEvent = (TenantId, StoredEvent);
