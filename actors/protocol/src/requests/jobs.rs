//! Jobs over the projections of a tenant: catch-up, rebuild, verify.

use super::runs::WatchReply;
use crate::report::RunReport;
use crate::request::{Facts, FromDatabase, FromNode, Reply, Request, Right, Subject, change_of_scopes, unfit};
use crate::{AdminError, AdminReply};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{Generation, NewChange};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Apply new events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUpRequest(pub JobRequest);

impl Request for CatchUpRequest {
    const FACTS: Facts = Facts::changes("catch_up", Some(Right::Replay));
    type Reply = JobReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.0.tenant.as_ref())
    }

    fn change(&self, id: Uuid) -> Option<NewChange> {
        Some(self.0.change("catch_up", id))
    }
}

/// Build new generations from the log's origin and flip to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildRequest(pub JobRequest);

impl Request for RebuildRequest {
    const FACTS: Facts = Facts::changes("rebuild", Some(Right::Rebuild));
    type Reply = JobReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.0.tenant.as_ref())
    }

    fn change(&self, id: Uuid) -> Option<NewChange> {
        Some(self.0.change("rebuild", id))
    }
}

/// Compare the stored digest, the rows and the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRequest(pub JobRequest);

impl Request for VerifyRequest {
    const FACTS: Facts = Facts::changes("verify", Some(Right::Prove));
    type Reply = JobReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.0.tenant.as_ref())
    }

    /// A check of the log alone changes nothing, and works where nothing can be recorded.
    fn change(&self, id: Uuid) -> Option<NewChange> {
        let is_log_only = self.0.verify.as_ref().is_some_and(|part| part.log_only);
        (!is_log_only).then(|| self.0.change("verify", id))
    }
}

/// A job over one projection or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
    /// Position to stop at (catch-up).
    #[serde(default)]
    pub until: Option<LogSeq>,
    /// Id of the run; drawn when none. A node takes the id of the ask when none.
    #[serde(default)]
    pub run_id: Option<Uuid>,
    /// True when the asker does not wait for the job's end. Only a node can do that.
    #[serde(default)]
    pub detach: bool,
    /// True when another node passed the request on, because this node has the tenant. It is not passed on again.
    #[serde(default)]
    pub passed_on: bool,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Notes of the asking program: a JSON object as text, of at most [`METADATA_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// First asker of a request that was passed on: name and proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_asked_by: Option<String>,
    /// Part of a verify; rows and log when none. Other jobs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyPart>,
}

/// Part of a verify.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPart {
    /// True for the log alone, without rows. Nothing is recorded where nothing can be written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_only: bool,
    /// True for the rows alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_log: bool,
    /// Sealed events that are taken as checked: the check of the log begins behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The one memory that the log is compared with: `database`, `journal` or a place. A node knows its own places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
}

/// Most bytes of a job's metadata.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;

impl JobRequest {
    /// Makes the record of this job's start, by a request with this id.
    fn change(&self, what: &str, id: Uuid) -> NewChange {
        let JobRequest { tenant, projection, run_id, reason, .. } = self;
        let run_id = run_id.unwrap_or(id);
        let change = change_of_scopes(what, tenant, projection, reason.as_ref());
        NewChange { subject: Some(format!("run {run_id}")), run_id: Some(run_id), ..change }
    }
}

/// The answer to a request for a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum JobReply {
    /// Report of the job, which has ended in the answering process.
    Ended(Box<RunReport>),
    /// State of the job, which a node has begun and goes on with.
    Begun(Box<WatchReply>),
}

impl JobReply {
    /// Returns the report of a job in this process.
    pub fn ended(self) -> Result<RunReport, AdminError> {
        match self {
            JobReply::Ended(report) => Ok(*report),
            JobReply::Begun(_) => Err(unfit()),
        }
    }
}

impl Reply for JobReply {
    fn advice(&mut self) -> Vec<&mut String> {
        match self {
            JobReply::Ended(report) => report.advice(),
            JobReply::Begun(watch) => watch.advice(),
        }
    }
}

impl From<RunReport> for JobReply {
    fn from(report: RunReport) -> JobReply {
        JobReply::Ended(Box::new(report))
    }
}

impl From<JobReply> for AdminReply {
    fn from(reply: JobReply) -> AdminReply {
        match reply {
            JobReply::Ended(report) => (*report).into(),
            JobReply::Begun(watch) => watch.into(),
        }
    }
}

impl TryFrom<AdminReply> for JobReply {
    type Error = AdminError;

    fn try_from(reply: AdminReply) -> Result<JobReply, AdminError> {
        match reply {
            AdminReply::Job(report) => Ok(report.into()),
            AdminReply::Watch(watch) => Ok(JobReply::Begun(watch)),
            _ => Err(unfit()),
        }
    }
}

impl Reply for RunReport {
    fn advice(&mut self) -> Vec<&mut String> {
        self.run.advice()
    }
}

/// Estimate the cost of a rebuild and name its blockers; changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildCheckRequest(pub JobRequest);

impl Request for RebuildCheckRequest {
    const FACTS: Facts = Facts::reads("rebuild_check", Some(Right::Observe));
    type Reply = RebuildCheckReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.0.tenant.as_ref())
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

impl Reply for RebuildCheckReply {}

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
