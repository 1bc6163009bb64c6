//! What changed something, and the jobs that do.

use crate::report::{Progress, RunReport, ScopeReport, recorded, verdict};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_records::{Generation, Paused, Run, RunState};
use serde::{Deserialize, Serialize};

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
    /// Whose lines they were, in the order of their first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantId>,
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
    /// What rows and size are based on: `live rows`, a sample of the generation that would be replaced, or `assumed`, figures of mixed
    /// workloads, when it has no rows yet.
    #[serde(default)]
    pub size_source: String,
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
    /// True when the list goes on, as the limit or the bytes of one answer were reached: ask again with `after` = the last job's id.
    #[serde(default)]
    pub more: bool,
}

/// A job as a program is shown it: what it found is JSON, too. (`report` is the same as a text, for programs from before.)
#[derive(Serialize)]
pub(super) struct ShownRun<'a> {
    #[serde(flatten)]
    run: &'a Run,
    /// What a verify found, in a few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// What the job did to each projection, when it has completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<ScopeReport>>,
}

impl ShownRun<'_> {
    pub(super) fn of(run: &Run) -> ShownRun<'_> {
        let scopes = recorded(run);
        ShownRun { run, result: scopes.as_deref().and_then(|scopes| verdict(run, scopes)), scopes }
    }
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

/// Whether a job has ended.
pub fn has_ended(state: RunState) -> bool {
    matches!(state, RunState::Completed | RunState::Failed | RunState::Cancelled)
}
