//! The nouns of the contract. Every number has its unit in its name or its type.

mod members;
mod schema;

pub use members::{Cordon, Member, MemberFacts};
pub use schema::{SchemaFit, SchemaStatus};

use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Category, Changes, Identity, LogSeq, Projection, Refusal, Row, TenantId};
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

/// How a batch of events is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendMode {
    /// Each event gets its verdict; a refused one is left out, the others are stored.
    Each,
    /// All are stored (or repeats), or none.
    AllOrNothing,
}

/// What became of one offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored here.
    Accepted {
        /// Its position.
        log_seq: LogSeq,
    },
    /// It was stored already: a legal repeat.
    Repeated {
        /// Position of the stored event.
        log_seq: LogSeq,
        /// Id of the stored event.
        event_id: String,
    },
    /// Refused, with the reason.
    Refused(Refusal),
    /// Sound so far, not stored because another event of an [`AppendMode::AllOrNothing`] batch was refused.
    NotStored,
}

/// How much of the log one page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Events.
    pub rows_max: usize,
    /// Payload bytes; at least one event is returned whatever its size.
    pub bytes_max: usize,
}

/// A transaction that may still add events at or below the sampled sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWriter {
    /// Its identity (`virtualtransaction`); stable while it is open.
    pub transaction: String,
    /// Its backend; none for a prepared transaction.
    pub pid: Option<i32>,
    /// How long it has been open, seconds.
    pub age_seconds: Option<f64>,
    /// Its query, where the role may see it.
    pub query: Option<String>,
}

/// Where the log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// The last log position that was ever drawn.
    pub sequence: LogSeq,
    /// As in [`HighWaterSample::history`].
    pub history: String,
}

/// One sample of the log's end: everything at or below `sequence` that is not visible yet belongs to one of `writers`.
#[derive(Debug, Clone, PartialEq)]
pub struct HighWaterSample {
    /// The last log position that was ever drawn.
    pub sequence: LogSeq,
    /// Who may still deliver. Empty: the mark may move to `sequence` at once.
    pub writers: Vec<OpenWriter>,
    /// Identity of the history: server, timeline, start time. When it changes, everything held in memory is void.
    pub history: String,
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

/// A projection's rows in the order of their row keys, with what stands beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRow {
    /// The stored identity.
    pub key: Identity,
    /// The row.
    pub row: Row,
    /// The stored keys of [`decisiongraph_projections::Table::hashed`], in that order.
    pub hashed: Vec<Identity>,
    /// Beside each of them, where [`decisiongraph_projections::Table::naming`] says that it names a row: the `log_seq` of that row, or 0.
    /// Empty in a store that keeps none.
    pub since: Vec<i64>,
}

/// The order of a row stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// By [`Identity`]: the cheap one.
    Key,
    /// By the bytes of the canonical key: the reference digest's.
    Text,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RunMode {
    CatchUp,
    Rebuild,
    Verify,
}

impl RunMode {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunMode::CatchUp => "catch_up",
            RunMode::Rebuild => "rebuild",
            RunMode::Verify => "verify",
        }
    }
    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<RunMode> {
        [RunMode::CatchUp, RunMode::Rebuild, RunMode::Verify].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RunState {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl RunState {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunState::Queued => "queued",
            RunState::Running => "running",
            RunState::Completed => "completed",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
        }
    }
    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<RunState> {
        [RunState::Queued, RunState::Running, RunState::Completed, RunState::Failed, RunState::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// A job to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Drawn by the caller.
    pub run_id: Uuid,
    /// Whose log.
    pub tenant: TenantId,
    /// The projections it covers, in catalogue order: one, or all.
    pub projections: Vec<&'static str>,
    /// What it does.
    pub mode: RunMode,
    /// Stop here instead of at the mark.
    pub until: Option<LogSeq>,
    /// Who runs it.
    pub owner: Owner,
}

impl NewRun {
    /// The stored name of what it covers: `all`, or the one projection.
    pub fn projection(&self) -> &'static str {
        match self.projections.as_slice() {
            [one] => one,
            _ => "all",
        }
    }

    /// What a second request under the same id gave: the stored job when it is the same request (tenant, projections, mode, `until`),
    /// else `conflict`.
    pub fn repeated(&self, stored: Run) -> crate::Result<Creation> {
        let same = stored.tenant == self.tenant
            && stored.projection == self.projection()
            && stored.mode == self.mode
            && stored.until == self.until;
        if same {
            return Ok(Creation::Existing(stored));
        }
        Err(crate::StoreError::new(
            Category::Conflict,
            format!(
                "run {} is another request: {} of {}/{}",
                self.run_id,
                stored.mode.as_str(),
                stored.tenant,
                stored.projection
            ),
        ))
    }
}

/// What starting a job gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation {
    /// It is new, and runs.
    Created(Run),
    /// The same request was made before under this id: the job as it now is, unchanged.
    Existing(Run),
}

impl Creation {
    /// The job, whenever it was started.
    pub fn into_run(self) -> Run {
        match self {
            Creation::Created(run) | Creation::Existing(run) => run,
        }
    }

    /// Whether this call started it.
    pub const fn is_new(&self) -> bool {
        matches!(self, Creation::Created(_))
    }
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub run_id: Uuid,
    /// Whose log.
    pub tenant: TenantId,
    /// `all` or the name of a projection.
    pub projection: String,
    /// What it does.
    pub mode: RunMode,
    /// Where it stands.
    pub state: RunState,
    /// Who runs or ran it.
    pub node: String,
    /// Whether that process's lease still runs. A running job whose node is gone is an orphan.
    pub node_live: bool,
    /// Where it was to stop, if given.
    pub until: Option<LogSeq>,
    /// Projection it works on now.
    pub current: Option<String>,
    /// Position reached in the current projection.
    pub cursor: LogSeq,
    /// Position it works towards.
    pub target: LogSeq,
    /// Events applied so far, over all its projections: counts committed batches only.
    pub events: i64,
    /// Whether somebody asked it to stop.
    pub cancel_requested: bool,
    /// Why it failed.
    pub error: Option<Refusal>,
    /// What it found, as JSON, when completed.
    pub report: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339, when it reached a final state.
    pub finished_at: Option<String>,
}

/// How far a job got. Written at each batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunProgress {
    /// Projection it works on.
    pub current: &'static str,
    /// Position reached.
    pub cursor: LogSeq,
    /// Position it works towards.
    pub target: LogSeq,
    /// Events applied so far, in total.
    pub events: i64,
}

/// Where the rows of a new generation go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Beside the other generations: for small ones.
    Shared,
    /// A partition of its own, bulk loaded and indexed late: for large ones. (The embedded store has only shared.)
    Own,
}

/// What a flip did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// Readers see the new generation.
    Flipped {
        /// The generation they saw before.
        old_generation: Generation,
        /// Where that one stood.
        old: Position,
    },
    /// The live generation is ahead: follow the log to here and try again.
    Behind {
        /// The live cursor.
        live_cursor: LogSeq,
    },
}

/// How much of the retired generations is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// Rows deleted by this call.
    pub rows: u64,
    /// Generations that are gone for good after this call.
    pub generations: u64,
    /// Retired generations that still have rows, or that a transaction older than their retirement may still read.
    pub left: u64,
}

/// A poison event, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFailure {
    /// Whose.
    pub scope: Scope,
    /// The event.
    pub log_seq: LogSeq,
    /// Its id.
    pub event_id: String,
    /// Its trace.
    pub trace_id: String,
    /// Its type.
    pub event_type: String,
    /// What is wrong, and of which category.
    pub refusal: Refusal,
    /// Cursor before the batch that met it.
    pub batch_from: LogSeq,
    /// Last event of that batch.
    pub batch_to: LogSeq,
    /// The rolling digest at `batch_from`, as text.
    pub digest_before: String,
}

/// A failure as stored. One open row a (scope, event); seeing it again counts an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Failure {
    pub failure_id: i64,
    pub tenant: TenantId,
    pub projection: String,
    pub log_seq: LogSeq,
    pub event_id: String,
    pub trace_id: String,
    pub event_type: String,
    pub category: Category,
    pub message: String,
    pub batch_from: LogSeq,
    pub batch_to: LogSeq,
    pub digest_before: String,
    /// How often it was met.
    pub attempts: i64,
    /// RFC 3339.
    pub first_seen_at: String,
    /// RFC 3339.
    pub last_seen_at: String,
    /// RFC 3339; none while it is open.
    pub resolved_at: Option<String>,
}

/// A poison event that somebody decided to leave out of a projection. It is not checked and not projected, and counts as its trace's
/// predecessor. Kept for ever; it holds until it is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Skip {
    pub tenant: TenantId,
    pub projection: String,
    pub log_seq: LogSeq,
    pub event_id: String,
    pub trace_id: String,
    /// Why, for people.
    pub reason: String,
    /// Who decided, for people.
    pub skipped_by: String,
    /// RFC 3339.
    pub skipped_at: String,
    /// The failure that it answers.
    pub failure_id: i64,
    /// RFC 3339; none while it holds.
    pub revoked_at: Option<String>,
}

impl Skip {
    /// What a request to skip the event of `failure_id` meets: the skip that holds, when it answers that failure; none, when there is no
    /// skip and the failure is open; else `conflict`.
    pub(crate) fn repeated(held: Option<Skip>, failure_id: i64, open: bool) -> crate::Result<Option<Skip>> {
        match held {
            Some(held) if held.failure_id == failure_id => Ok(Some(held)),
            Some(held) => Err(crate::StoreError::new(
                Category::Conflict,
                format!(
                    "the event at log_seq {} is skipped already, because of failure {}",
                    held.log_seq, held.failure_id
                ),
            )),
            None if open => Ok(None),
            None => Err(crate::StoreError::new(
                Category::Conflict,
                format!("failure {failure_id} is resolved: there is nothing to skip"),
            )),
        }
    }

    /// `not_found`: nothing to revoke.
    pub(crate) fn none(scope: &Scope, log_seq: LogSeq) -> crate::StoreError {
        crate::StoreError::new(Category::NotFound, format!("no skip holds in {scope} at log_seq {log_seq}"))
    }
}

/// A digest at a position, chained to the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Position.
    pub cursor: LogSeq,
    /// Generation it was taken of.
    pub generation: Generation,
    /// Rolling digest, as text.
    pub digest: String,
    /// Version of the projection's rules.
    pub version: i32,
    /// Hash of the checkpoint before it; empty for the first.
    pub previous: String,
    /// See [`Checkpoint::chain`].
    pub hash: String,
    /// RFC 3339.
    pub recorded_at: String,
}

impl Checkpoint {
    /// `blake3:` and the hash over previous hash, scope, cursor, digest and version, each length-prefixed.
    pub fn chain(previous: &str, scope: &Scope, cursor: LogSeq, digest: &str, version: i32) -> String {
        let (cursor, version) = (cursor.to_string(), version.to_string());
        let parts = [previous, scope.tenant.as_str(), scope.projection, &cursor, digest, &version];
        let mut message = Vec::new();
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_le_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        decisiongraph_projections::payload_hash::tagged_hex("blake3:", &blake3_of(&message))
    }
}

fn blake3_of(message: &[u8]) -> [u8; 32] {
    *blake3::hash(message).as_bytes()
}

/// Which edges of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Direction {
    Outgoing,
    Incoming,
    Both,
}

impl Direction {
    /// The word in requests and cursors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Outgoing => "outgoing",
            Direction::Incoming => "incoming",
            Direction::Both => "both",
        }
    }
}

/// What precedents are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PrecedentFilter {
    pub policy_id: Option<String>,
    pub policy_version: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub outcome: Option<String>,
    /// 1 to 10,000.
    pub limit: i64,
}

/// One finished trace that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PrecedentHit {
    pub trace_id: String,
    pub workflow: String,
    pub title: String,
    pub outcome: String,
    pub finished_at: String,
    pub last_log_seq: LogSeq,
    pub primary_entity_type: Option<String>,
    pub primary_entity_id: Option<String>,
    /// Of the best matching row of the index; none when no policy was asked for.
    pub policy_id: Option<String>,
    pub policy_version: Option<String>,
    pub exception_id: Option<String>,
}

/// Which failures or runs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Of this tenant; of all when none.
    pub tenant: Option<TenantId>,
    /// Of this projection (a run for `all` matches every one).
    pub projection: Option<&'static str>,
    /// Open failures, or runs that are queued or running, only.
    pub open_only: bool,
    /// Newest first, at most this many.
    pub limit: usize,
}

/// A stored event and its tenant, as an export over all tenants shows it.
pub type TenantEvent = (TenantId, StoredEvent);
