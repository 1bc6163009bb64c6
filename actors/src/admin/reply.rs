//! What is told. [`AdminReply::to_json`] is the contract with programs: one object, without the name of the variant.

use super::cluster::ClusterReply;
use super::peer::{Partial, PeerReply};
use crate::engine::replay_failure::FailureReplay;
use crate::engine::report::{Progress, RunReport};
use crate::queries::{EdgesPage, EventRecord, ReferenceDigests, Staleness, Subgraph, Summary};
use crate::supervision::ActorEntry;
use crate::worker::LiveScope;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_store::{Backend, Failure, Generation, Lag, OpenWriter, Paused, PrecedentHit, Run, RunState, Skip};
use serde::{Deserialize, Serialize};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AdminReply {
    Migrated(MigrateReply),
    Appended(AppendReply),
    Job(RunReport),
    RebuildCheck(RebuildCheckReply),
    Status(StatusReply),
    Health(HealthReply),
    Why(WhyReply),
    Digest(DigestReply),
    ReferenceDigest(ReferenceDigests),
    Trace(TraceReply),
    Events(EventsReply),
    Subgraph(ReadReply<Subgraph>),
    Edges(ReadReply<EdgesPage>),
    Precedents(ReadReply<PrecedentsReply>),
    Failures(FailuresReply),
    Failure(FailureReply),
    Skipped(Skip),
    Steered(SteerReply),
    Runs(RunsReply),
    Run(Run),
    Watch(Box<WatchReply>),
    Tree(TreeReply),
    Trees(TreesReply),
    Cluster(ClusterReply),
    Peer(PeerReply),
    ExportStart(ExportStartReply),
    ExportPage(ExportPageReply),
}

impl AdminReply {
    /// The reply as one JSON object.
    pub fn to_json(&self) -> serde_json::Result<String> {
        use serde_json::to_string;
        match self {
            AdminReply::Migrated(reply) => to_string(reply),
            AdminReply::Appended(reply) => to_string(reply),
            AdminReply::Job(reply) => to_string(reply),
            AdminReply::RebuildCheck(reply) => to_string(reply),
            AdminReply::Status(reply) => to_string(reply),
            AdminReply::Health(reply) => to_string(reply),
            AdminReply::Why(reply) => to_string(reply),
            AdminReply::Digest(reply) => to_string(reply),
            AdminReply::ReferenceDigest(reply) => to_string(reply),
            AdminReply::Trace(reply) => to_string(reply),
            AdminReply::Events(reply) => to_string(reply),
            AdminReply::Subgraph(reply) => to_string(reply),
            AdminReply::Edges(reply) => to_string(reply),
            AdminReply::Precedents(reply) => to_string(reply),
            AdminReply::Failures(reply) => to_string(reply),
            AdminReply::Failure(reply) => to_string(reply),
            AdminReply::Skipped(reply) => to_string(reply),
            AdminReply::Steered(reply) => to_string(reply),
            AdminReply::Runs(reply) => to_string(reply),
            AdminReply::Run(reply) => to_string(reply),
            AdminReply::Watch(reply) => to_string(reply),
            AdminReply::Tree(reply) => to_string(reply),
            AdminReply::Trees(reply) => to_string(reply),
            AdminReply::Cluster(reply) => to_string(reply),
            AdminReply::Peer(reply) => to_string(reply),
            AdminReply::ExportStart(reply) => to_string(reply),
            AdminReply::ExportPage(reply) => to_string(reply),
        }
    }
}

/// What migrating did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateReply {
    /// Names of the migrations that were applied now.
    pub applied: Vec<String>,
    /// The newest migration that the database has.
    pub schema: i64,
}

/// What became of offered lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReply {
    /// Stored now.
    pub accepted: u64,
    /// Stored before: legal repeats.
    pub repeated: u64,
    /// Not stored.
    pub refused: u64,
    /// Each line's verdict when each stands for itself; of an all-or-nothing request only the first refused one.
    pub verdicts: Vec<LineVerdict>,
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineVerdict {
    /// Its number.
    pub line: u64,
    /// In one word.
    pub verdict: VerdictWord,
    /// Where it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_seq: Option<LogSeq>,
    /// The stored event's id, or the refused one's as far as it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// See [`LineVerdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum VerdictWord {
    Accepted,
    Repeated,
    Refused,
}

impl VerdictWord {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerdictWord::Accepted => "accepted",
            VerdictWord::Repeated => "repeated",
            VerdictWord::Refused => "refused",
        }
    }
}

/// What a rebuild would need and meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuildCheckReply {
    /// Whose.
    pub tenant: TenantId,
    /// Whether nothing stands in the way.
    pub ready: bool,
    /// What stands in the way.
    pub blockers: Vec<String>,
    /// The tenant's events, counted up to `events_bound`.
    pub events: u64,
    /// See `events`.
    pub events_bound: u64,
    /// Per projection.
    pub projections: Vec<RebuildEstimate>,
    /// Sum, and one index build: an estimate, good to a factor of about three.
    pub seconds: f64,
    /// What the estimate of time is based on.
    pub rate_source: String,
}

/// One projection's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuildEstimate {
    /// Which.
    pub projection: String,
    /// The generation that would be replaced.
    pub live_generation: Option<Generation>,
    /// Where it stands.
    pub cursor: LogSeq,
    /// Rows of the new generation, about.
    pub rows: u64,
    /// Its size with indexes, about: needed beside the live one until that is removed.
    pub bytes: u64,
}

/// Where each scope stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Without secrets.
    pub database: String,
    /// Which engine.
    pub backend: Backend,
    /// The last log position that was ever drawn.
    pub sequence: LogSeq,
    /// Whether everything up to `sequence` may be read now. Otherwise somebody in `waiting_for` may still deliver.
    pub mark_is_safe: bool,
    /// Open appenders.
    pub waiting_for: Vec<OpenWriter>,
    /// By tenant, in catalogue order.
    pub scopes: Vec<ScopeStatus>,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

/// A scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeStatus {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub projection: String,
    /// In one word.
    pub state: ScopeState,
    /// Everything up to here is applied.
    pub cursor: LogSeq,
    /// The tenant's last event.
    pub last_log_seq: LogSeq,
    /// Events and seconds behind.
    pub lag: Lag,
    /// Since the cursor last moved, seconds; none when it never did.
    pub cursor_age_seconds: Option<f64>,
    /// Who owns it.
    pub owner: Option<String>,
    /// Whether that owner's lease runs.
    pub owner_live: bool,
    /// The epoch.
    pub epoch: i64,
    /// What readers see.
    pub generation: Option<Generation>,
    /// Rolling digest at `cursor`.
    pub digest: Option<String>,
    /// Version of the rules that wrote the rows.
    pub version: Option<i32>,
    /// Poison events that stop it.
    pub open_failures: u64,
    /// Whether its live rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
    /// The job that works on it.
    pub active_run: Option<String>,
    /// Why it lags, in a sentence.
    pub why: String,
    /// What its worker is doing, when a node runs one and could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveScope>,
    /// That node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_on: Option<String>,
}

/// A scope in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeState {
    /// It has seen every event.
    Current,
    /// A job works on it.
    Working,
    /// It is behind and nobody applies its events.
    Unowned,
    /// An appender may still deliver.
    Waiting,
    /// It is behind; its owner is alive.
    Behind,
    /// A fault may pass; its worker tries again.
    Retrying,
    /// A poison event stops it.
    Failed,
    /// Somebody asked to leave it alone.
    Paused,
}

impl ScopeState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            ScopeState::Current => "current",
            ScopeState::Working => "working",
            ScopeState::Unowned => "unowned",
            ScopeState::Waiting => "waiting",
            ScopeState::Behind => "behind",
            ScopeState::Retrying => "retrying",
            ScopeState::Failed => "failed",
            ScopeState::Paused => "paused",
        }
    }
}

/// Whether somebody has to act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthReply {
    /// The worst of the findings.
    pub health: HealthWord,
    /// Scopes looked at.
    pub scopes: u64,
    /// What is not as it should be, worst first.
    pub findings: Vec<Finding>,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

/// Health in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum HealthWord {
    Ok,
    Degraded,
    Failed,
}

impl HealthWord {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthWord::Ok => "ok",
            HealthWord::Degraded => "degraded",
            HealthWord::Failed => "failed",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub health: HealthWord,
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub next: String,
}

/// Why scopes lag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyReply {
    /// What concerns every scope: the database, the node's lease, appenders that hold up the mark.
    pub causes: Vec<Finding>,
    /// The scopes, by tenant, in catalogue order: those that are not current, unless all were asked for.
    pub scopes: Vec<ScopeWhy>,
    /// Scopes looked at.
    pub scopes_total: u64,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

/// Why one scope lags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeWhy {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub projection: String,
    /// In one word.
    pub state: ScopeState,
    /// Events and seconds behind.
    pub lag: Lag,
    /// In one sentence.
    pub why: String,
    /// What to do; none when there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The rolling digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestReply {
    /// Whose.
    pub tenant: TenantId,
    /// In catalogue order.
    pub digests: Vec<ScopeDigest>,
}

/// A rolling digest and where it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeDigest {
    /// Which.
    pub projection: String,
    /// Everything up to here is in it.
    pub cursor: LogSeq,
    /// The tenant's last event at or below `cursor`: equal digests at equal positions mean equal rows.
    pub last_log_seq: LogSeq,
    /// Of this generation.
    pub generation: Option<Generation>,
    /// Version of the rules.
    pub version: i32,
    /// `lthash:…`
    pub digest: String,
    /// Whether its rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReply<A> {
    /// Whose.
    pub tenant: TenantId,
    /// Present when the answer is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// The answer itself.
    #[serde(flatten)]
    pub answer: A,
}

/// Precedents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecedentsReply {
    /// Latest first.
    pub hits: Vec<PrecedentHit>,
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceReply {
    /// Whose.
    pub tenant: TenantId,
    /// Present when the summary is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// None when the projection has not seen its start.
    pub summary: Option<Summary>,
    /// In order.
    pub events: Vec<EventRecord>,
    /// Ask again with `after` = the last event's `log_seq`.
    pub more: bool,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReply {
    /// Whose.
    pub tenant: TenantId,
    /// In `log_seq` order.
    pub events: Vec<EventRecord>,
    /// Ask again with `since_log_seq` = the last event's `log_seq`.
    pub more: bool,
}

/// Poison events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailuresReply {
    /// Newest first.
    pub failures: Vec<Failure>,
}

/// A poison event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureReply {
    /// As stored.
    #[serde(flatten)]
    pub failure: Failure,
    /// What meeting it again gave, when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<FailureReplay>,
}

/// Scopes after a pause or resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerReply {
    /// In catalogue order.
    pub scopes: Vec<SteeredScope>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeredScope {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub projection: String,
    /// Everything up to here is applied.
    pub cursor: LogSeq,
    /// Who asked to leave it alone; none when it is not paused.
    pub paused: Option<Paused>,
}

/// Jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunsReply {
    /// Newest first.
    pub runs: Vec<Run>,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchReply {
    /// The job as stored.
    pub run: Run,
    /// Where it is, when the answering process runs it.
    pub progress: Option<Progress>,
    /// What it did, when it has ended.
    pub report: Option<RunReport>,
}

/// The live actors of a node, and where they and the database disagree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeReply {
    /// The node itself.
    pub node: NodeFacts,
    /// By path; a page of them.
    pub actors: Vec<ActorEntry>,
    /// Where memory and database disagree. Looked for with the first page.
    pub disagreements: Vec<Disagreement>,
    /// Ask again with `after` = this; none on the last page.
    pub next: Option<String>,
}

/// The trees of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreesReply {
    /// Those that answered.
    pub nodes: Vec<TreeReply>,
    /// Those that could not be asked.
    pub partial: Vec<Partial>,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Drawn at its start.
    pub incarnation: String,
    /// Its program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since its start, milliseconds.
    pub uptime_ms: u64,
    /// Without secrets.
    pub database: String,
    /// `up`, or what is wrong and for how long.
    pub database_state: String,
    /// How long its lease may still be believed in, milliseconds; 0: it does not write.
    pub lease_left_ms: u64,
    /// The safe end of the log.
    pub mark: LogSeq,
    /// Appenders that hold up the mark.
    pub waiting_for: Vec<OpenWriter>,
    /// Tenants whose actors run.
    pub tenants_running: u64,
    /// Tenants that wait for room.
    pub tenants_waiting: u64,
    /// Jobs under way here.
    pub jobs: u64,
    /// Whether it is stopping.
    pub draining: bool,
    /// Actors in the table.
    pub actors: u64,
}

/// Something that memory and the database say differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The scope.
    pub scope: String,
    /// What is said where.
    pub what: String,
}

/// What an export can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStartReply {
    /// The safe mark: up to here the log will not change any more.
    pub mark: LogSeq,
    /// Whose events it holds.
    pub tenants: Vec<TenantId>,
}

/// A page of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPageReply {
    /// JSON lines, without line feeds.
    pub lines: Vec<String>,
    /// Position of the last one; none when there was no further line.
    pub last_log_seq: Option<LogSeq>,
}

/// Whether a job has ended.
pub fn has_ended(state: RunState) -> bool {
    matches!(state, RunState::Completed | RunState::Failed | RunState::Cancelled)
}
