//! Replies to requests that change something, and the state of jobs.

use crate::report::{Progress, RunReport, ScopeReport, recorded, verdict};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_records::{Generation, Paused, Run, RunState};
use serde::{Deserialize, Serialize};

/// Result of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateReply {
    /// Names of the migrations that this request applied.
    pub applied: Vec<String>,
    /// Newest migration that the database has.
    pub schema: i64,
}

/// Result for the offered lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReply {
    /// Lines stored now.
    pub accepted: u64,
    /// Lines stored before: legal repeats.
    pub repeated: u64,
    /// Lines refused, and therefore not stored.
    pub refused: u64,
    /// Verdict of each line, when each is stored by itself. Of an all-or-nothing request, only the verdict of the first
    /// refused line.
    pub verdicts: Vec<LineVerdict>,
    /// Tenants of the lines, in the order of their first lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantId>,
}

/// Result for one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineVerdict {
    /// Number of the line.
    pub line: u64,
    /// Verdict as one word.
    pub verdict: VerdictWord,
    /// Position at which the event is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_seq: Option<LogSeq>,
    /// Id of the stored event, or of the refused one as far as it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Category of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Message of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Verdict as one word, for [`LineVerdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum VerdictWord {
    Accepted,
    Repeated,
    Refused,
}

impl VerdictWord {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerdictWord::Accepted => "accepted",
            VerdictWord::Repeated => "repeated",
            VerdictWord::Refused => "refused",
        }
    }
}

/// Estimated cost of a rebuild, and its blockers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuildCheckReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// True when nothing blocks the rebuild.
    pub ready: bool,
    /// Reasons why the rebuild would fail or stop.
    pub blockers: Vec<String>,
    /// Number of the tenant's events, counted up to `events_bound`.
    pub events: u64,
    /// Bound of the count in `events`.
    pub events_bound: u64,
    /// Estimates per projection.
    pub projections: Vec<RebuildEstimate>,
    /// Estimated duration of all projections in seconds, good to a factor of about three.
    pub seconds: f64,
    /// Source of the rate behind the estimated duration.
    pub rate_source: String,
}

/// Estimate for one projection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuildEstimate {
    /// Name of the projection.
    pub projection: String,
    /// Generation that would be replaced.
    pub live_generation: Option<Generation>,
    /// Cursor of that generation.
    pub cursor: LogSeq,
    /// Rows of the new generation, roughly.
    pub rows: u64,
    /// Size of the new generation with indexes, roughly, in bytes. Needed beside the live generation until that is
    /// removed.
    pub bytes: u64,
    /// Source of rows and size: `live rows` or `assumed`. `live rows` is a sample of the generation that would be
    /// replaced. `assumed` means figures of mixed workloads, used when that generation has no rows yet.
    #[serde(default)]
    pub size_source: String,
}

/// Scopes after a pause or resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerReply {
    /// Scopes in catalogue order.
    pub scopes: Vec<SteeredScope>,
}

/// A scope after a pause or resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeredScope {
    /// Tenant of the scope.
    pub tenant: TenantId,
    /// Projection of the scope.
    pub projection: String,
    /// Position up to which everything is applied.
    pub cursor: LogSeq,
    /// Pause of the scope, with its author; none when it is not paused.
    pub paused: Option<Paused>,
}

/// A list of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunsReply {
    /// Jobs, newest first.
    pub runs: Vec<Run>,
    /// True when the list goes on, because the limit or the bytes of one answer were reached. Ask again with `after` =
    /// the last job's id.
    #[serde(default)]
    pub more: bool,
}

/// A job as programs see it, with its result as JSON. (`report` is the same as a text, for older programs.)
#[derive(Serialize)]
pub(super) struct ShownRun<'a> {
    #[serde(flatten)]
    run: &'a Run,
    /// Result of a verify, in a few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// Result of a completed job for each projection.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<ScopeReport>>,
}

impl ShownRun<'_> {
    pub(super) fn of(run: &Run) -> ShownRun<'_> {
        let scopes = recorded(run);
        ShownRun { run, result: scopes.as_deref().and_then(|scopes| verdict(run, scopes)), scopes }
    }
}

/// State of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchReply {
    /// Job as stored.
    pub run: Run,
    /// Progress of the job: from memory when the answering process runs it, otherwise from the row of a running job.
    pub progress: Option<Progress>,
    /// Report of the job, when it has ended.
    pub report: Option<RunReport>,
}

/// True when a job in this state has ended.
pub fn has_ended(state: RunState) -> bool {
    matches!(state, RunState::Completed | RunState::Failed | RunState::Cancelled)
}
