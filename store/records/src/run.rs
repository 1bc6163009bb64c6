//! Jobs, as they are recorded.

use super::Owner;
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId, catalogue};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Kind of work of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RunMode {
    CatchUp,
    Rebuild,
    Verify,
}

impl RunMode {
    /// Returns the stored word.
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

/// State of a job.
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
    /// Returns the stored word.
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

/// Cause of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunCause {
    /// Reason, for later readers.
    pub reason: Option<String>,
    /// Asker: name and proof.
    pub requested_by: Option<String>,
    /// Notes of the asking program: a JSON object, as text.
    pub metadata: Option<String>,
}

/// A job to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Id of the job, drawn by the caller.
    pub run_id: Uuid,
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Projections that it covers, in catalogue order: one, or all.
    pub projections: Vec<&'static str>,
    /// Kind of work.
    pub mode: RunMode,
    /// Position to stop at, instead of the mark.
    pub until: Option<LogSeq>,
    /// Owner that runs it.
    pub owner: Owner,
    /// Cause of the job.
    pub cause: RunCause,
}

impl NewRun {
    /// Returns the stored name of the covered projections: `all`, or the one projection.
    pub fn projection(&self) -> &'static str {
        match self.projections.as_slice() {
            [one] => one,
            _ => "all",
        }
    }

    /// Answers a second request under the same id. Returns the stored job when the request is the same (tenant,
    /// projections, mode, `until`). Otherwise the answer is `conflict`.
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
                "run {} is a different request: {} of {}/{}",
                self.run_id,
                stored.mode.as_str(),
                stored.tenant,
                stored.projection
            ),
        ))
    }
}

/// Result of starting a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation {
    /// It is new, and runs.
    Created(Run),
    /// The same request was made before under this id: the job in its present state, unchanged.
    Existing(Run),
}

impl Creation {
    /// Returns the job, whenever it was started.
    pub fn into_run(self) -> Run {
        match self {
            Creation::Created(run) | Creation::Existing(run) => run,
        }
    }

    /// True when this call started it.
    pub const fn is_new(&self) -> bool {
        matches!(self, Creation::Created(_))
    }
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Id of the job.
    pub run_id: Uuid,
    /// Tenant of the log.
    pub tenant: TenantId,
    /// `all` or the name of a projection.
    pub projection: String,
    /// Kind of work.
    pub mode: RunMode,
    /// State of the job.
    pub state: RunState,
    /// Node that runs or ran it.
    pub node: String,
    /// True when that process's lease still runs. A running job whose node is gone is an orphan.
    pub node_live: bool,
    /// Position to stop at, if given.
    pub until: Option<LogSeq>,
    /// Projection it works on now.
    pub current: Option<String>,
    /// Position reached in the current projection.
    pub cursor: LogSeq,
    /// Position it works towards.
    pub target: LogSeq,
    /// Events applied so far, over all its projections; only committed batches count.
    pub events: i64,
    /// True when an operator asked it to stop.
    pub cancel_requested: bool,
    /// Reason of the failure.
    pub error: Option<Refusal>,
    /// Findings, as JSON, when completed.
    pub report: Option<String>,
    /// Time of the creation, RFC 3339.
    pub created_at: String,
    /// Time at which it reached a final state, RFC 3339.
    pub finished_at: Option<String>,
    /// Reason, as the asker gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Asker: name and proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Notes of the asking program: a JSON object, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

impl Run {
    /// Lists the projections that the job covers, in catalogue order.
    pub fn projections(&self) -> Vec<&str> {
        match self.projection.as_str() {
            "all" => catalogue::ALL.map(|projection| projection.name()).to_vec(),
            one => vec![one],
        }
    }
}

/// End of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// It completed its work; its findings, as JSON.
    Completed(String),
    /// It stopped because an operator asked.
    Cancelled,
    /// It could not continue.
    Failed(Refusal),
}

/// Progress of a job. Written at each batch.
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
