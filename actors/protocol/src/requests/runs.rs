//! Runs: the jobs as stored, and requests about one of them.

use super::failures::ListRequest;
use super::jobs::JobReply;
use crate::report::{Progress, RunReport, ScopeReport, recorded, verdict};
use crate::request::{Facts, FromDatabase, FromNode, Reply, Request, Right, ScopeFilter, Subject, change_of};
use decisiongraph_records::{NewChange, Run, RunState};
use serde::{Deserialize, Serialize};
use serde_json::{json, to_string};
use uuid::Uuid;

/// List of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsRequest(pub ListRequest);

impl Request for RunsRequest {
    const FACTS: Facts = Facts::reads("runs", Some(Right::Observe)).large();
    type Reply = RunsReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.0.tenant)
    }
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

impl Reply for RunsReply {
    fn to_json(&self) -> serde_json::Result<String> {
        let runs: Vec<ShownRun<'_>> = self.runs.iter().map(ShownRun::of).collect();
        to_string(&json!({ "runs": runs, "more": self.more }))
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRunRequest {
    /// Id of the run.
    pub run_id: Uuid,
    /// Scope that the job is expected in; `not_found` when it is in another.
    #[serde(default)]
    pub of: ScopeFilter,
}

impl Request for ReadRunRequest {
    const FACTS: Facts = Facts::reads("run", Some(Right::Observe));
    type Reply = Run;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Run(self.run_id, &self.of)
    }
}

impl Reply for Run {
    fn to_json(&self) -> serde_json::Result<String> {
        to_string(&ShownRun::of(self))
    }

    fn advice(&mut self) -> Vec<&mut String> {
        self.error.iter_mut().map(|error| &mut error.message).collect()
    }
}

/// A job as programs see it, with its result as JSON. (`report` is the same as a text, for older programs.)
#[derive(Serialize)]
struct ShownRun<'a> {
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
    fn of(run: &Run) -> ShownRun<'_> {
        let scopes = recorded(run);
        ShownRun { run, result: scopes.as_deref().and_then(|scopes| verdict(run, scopes)), scopes }
    }
}

/// Go on with an orphaned, failed or cancelled job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeRunRequest {
    /// Id of the run.
    pub run_id: Uuid,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Scope that the job is expected in; `not_found` when it is in another.
    #[serde(default)]
    pub of: ScopeFilter,
}

impl Request for ResumeRunRequest {
    const FACTS: Facts = Facts::changes("resume_run", Some(Right::Replay));
    type Reply = JobReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Run(self.run_id, &self.of)
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        let change = change_of("resume_run", format!("run {}", self.run_id), &self.of, self.reason.as_ref());
        Some(NewChange { run_id: Some(self.run_id), ..change })
    }
}

/// Ask a job to stop at its next batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRunRequest {
    /// Id of the run.
    pub run_id: Uuid,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Scope that the job is expected in; `not_found` when it is in another.
    #[serde(default)]
    pub of: ScopeFilter,
}

impl Request for CancelRunRequest {
    const FACTS: Facts = Facts::changes("cancel_run", Some(Right::Replay));
    type Reply = Run;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Run(self.run_id, &self.of)
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        let change = change_of("cancel_run", format!("run {}", self.run_id), &self.of, self.reason.as_ref());
        Some(NewChange { run_id: Some(self.run_id), ..change })
    }
}

/// State of a job: answered when the job has ended, or after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRunRequest {
    /// Id of the run.
    pub run_id: Uuid,
    /// Longest wait, milliseconds, at most [`WATCH_MS_MAX`]; at once when 0.
    pub wait_ms: u64,
}

impl Request for WatchRunRequest {
    const FACTS: Facts = Facts::reads("watch_run", Some(Right::Observe));
    type Reply = Box<WatchReply>;
    type Source = FromNode;
}

/// Longest wait of a [`WatchRunRequest`], milliseconds.
pub const WATCH_MS_MAX: u64 = 1_000;

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

impl Reply for WatchReply {}

/// True when a job in this state has ended.
pub fn has_ended(state: RunState) -> bool {
    matches!(state, RunState::Completed | RunState::Failed | RunState::Cancelled)
}
