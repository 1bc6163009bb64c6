//! Jobs, as they are recorded.

use super::Owner;
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
