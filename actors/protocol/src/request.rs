//! Requests to a node: plain data with named fields. A field that is added later is optional, so that an older client
//! can still ask.

use super::peer::PeerRequest;
use super::reply::ScopeState;
use crate::query::{EdgesQuery, Freshness, SubgraphQuery};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::PrecedentFilter;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One request. `tenant: None` means every tenant if the request can be about all of them, otherwise `default`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Bring the schema up to this program's version.
    Migrate,
    /// Import events.
    Append(AppendRequest),
    /// Apply new events.
    CatchUp(JobRequest),
    /// Build new generations from the log's origin and flip to them.
    Rebuild(JobRequest),
    /// Estimate the cost of a rebuild and name its blockers; changes nothing.
    RebuildCheck(JobRequest),
    /// Compare the stored digest, the rows and the log.
    Verify(JobRequest),
    /// State of each scope, and its reason.
    Status(StatusRequest),
    /// Health of scopes: tells if an operator has to act.
    Health(ScopeFilter),
    /// Reasons why scopes lag, and the next steps.
    Why {
        /// Scopes that are asked about.
        filter: ScopeFilter,
        /// True to include the current scopes.
        all: bool,
    },
    /// The rolling digests.
    Digest(ScopeFilter),
    /// The digests that the Python reference computes.
    ReferenceDigest {
        /// Tenant of the log.
        tenant: Option<TenantId>,
    },
    /// A trace's summary and events.
    Trace(TraceRequest),
    /// Events of the log.
    Events(EventsRequest),
    /// The neighbourhood of a node.
    Subgraph(ReadRequest<SubgraphQuery>),
    /// The edges of a node.
    Edges(ReadRequest<EdgesQuery>),
    /// Finished traces that decided a similar case.
    Precedents(ReadRequest<PrecedentFilter>),
    /// Poison events, or the skipped events among them.
    Failures(ListRequest),
    /// One failure.
    Failure {
        /// Id of the failure.
        failure_id: i64,
        /// True to fold its batch again, offline, and report the result.
        #[serde(default)]
        replay: bool,
        /// Scope that the failure is expected in; `not_found` when it is in another.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Leave the event of an open failure out of its projection.
    Skip {
        /// Id of the failure.
        failure_id: i64,
        /// Reason; ignored when the skip is revoked.
        reason: String,
        /// True to end the skip instead.
        #[serde(default)]
        revoke: bool,
        /// Scope that the failure is expected in; `not_found` when it is in another.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Apply no events of these scopes, durably.
    Pause {
        /// Tenant of the scopes.
        tenant: Option<TenantId>,
        /// Name in the catalogue; all projections when none.
        projection: Option<String>,
        /// Reason of the operator.
        reason: String,
    },
    /// Apply the events of these scopes again.
    Resume {
        /// Tenant of the scopes.
        tenant: Option<TenantId>,
        /// Name in the catalogue; all projections when none.
        projection: Option<String>,
        /// Reason, for later readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Try these scopes again now, whatever stopped them.
    Retry {
        /// Tenant of the scopes.
        tenant: Option<TenantId>,
        /// Name in the catalogue; all projections when none.
        projection: Option<String>,
        /// Reason, for later readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// List of jobs.
    Runs(ListRequest),
    /// One job.
    Run {
        /// Id of the run.
        run_id: Uuid,
        /// Scope that the job is expected in; `not_found` when it is in another.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Go on with an orphaned, failed or cancelled job.
    ResumeRun {
        /// Id of the run.
        run_id: Uuid,
        /// Reason, for later readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Scope that the job is expected in; `not_found` when it is in another.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Ask a job to stop at its next batch.
    CancelRun {
        /// Id of the run.
        run_id: Uuid,
        /// Reason, for later readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Scope that the job is expected in; `not_found` when it is in another.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// State of a job: answered when the job has ended, or after a wait.
    WatchRun {
        /// Id of the run.
        run_id: Uuid,
        /// Longest wait, milliseconds, at most [`WATCH_MS_MAX`]; at once when 0.
        wait_ms: u64,
    },
    /// Live actors of the node.
    Tree(TreeRequest),
    /// Nodes of the cluster.
    Cluster,
    /// Make a node take no more tenants.
    Cordon {
        /// Name of the node.
        node: String,
        /// True when the node also gives away its tenants.
        draining: bool,
        /// Reason of the operator.
        reason: String,
    },
    /// Let a node take tenants again.
    Uncordon {
        /// Name of the node.
        node: String,
        /// Reason, for later readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Forget a dead node.
    Forget {
        /// Name of the node.
        node: String,
        /// Reason, for later readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Message of one node to another.
    Peer(PeerRequest),
    /// Tenants that have events or scopes.
    Tenants(TenantsRequest),
    /// Changes that operators asked for.
    Changes(ChangesRequest),
    /// Position up to which the log can be exported now, and the tenants in it.
    ExportStart,
    /// A stretch of the log as JSON lines.
    ExportPage(ExportRequest),
}

/// Longest wait of a [`AdminRequest::WatchRun`], milliseconds.
pub const WATCH_MS_MAX: u64 = 1_000;

impl AdminRequest {
    /// Returns the request as one word, for metrics and spans.
    pub const fn word(&self) -> &'static str {
        match self {
            AdminRequest::Migrate => "migrate",
            AdminRequest::Append(_) => "append",
            AdminRequest::CatchUp(_) => "catch_up",
            AdminRequest::Rebuild(_) => "rebuild",
            AdminRequest::RebuildCheck(_) => "rebuild_check",
            AdminRequest::Verify(_) => "verify",
            AdminRequest::Status(_) => "status",
            AdminRequest::Health(_) => "health",
            AdminRequest::Why { .. } => "why",
            AdminRequest::Digest(_) => "digest",
            AdminRequest::ReferenceDigest { .. } => "reference_digest",
            AdminRequest::Trace(_) => "trace",
            AdminRequest::Events(_) => "events",
            AdminRequest::Subgraph(_) => "subgraph",
            AdminRequest::Edges(_) => "edges",
            AdminRequest::Precedents(_) => "precedents",
            AdminRequest::Failures(_) => "failures",
            AdminRequest::Failure { .. } => "failure",
            AdminRequest::Skip { .. } => "skip",
            AdminRequest::Pause { .. } => "pause",
            AdminRequest::Resume { .. } => "resume",
            AdminRequest::Retry { .. } => "retry",
            AdminRequest::Runs(_) => "runs",
            AdminRequest::Run { .. } => "run",
            AdminRequest::ResumeRun { .. } => "resume_run",
            AdminRequest::CancelRun { .. } => "cancel_run",
            AdminRequest::WatchRun { .. } => "watch_run",
            AdminRequest::Tree(_) => "tree",
            AdminRequest::Cluster => "cluster",
            AdminRequest::Cordon { .. } => "cordon",
            AdminRequest::Uncordon { .. } => "uncordon",
            AdminRequest::Forget { .. } => "forget",
            AdminRequest::Peer(_) => "peer",
            AdminRequest::Tenants(_) => "tenants",
            AdminRequest::Changes(_) => "changes",
            AdminRequest::ExportStart => "export_start",
            AdminRequest::ExportPage(_) => "export_page",
        }
    }

    /// Returns the first protocol version that has this request.
    pub const fn since(&self) -> u32 {
        match self {
            AdminRequest::Cluster
            | AdminRequest::Cordon { .. }
            | AdminRequest::Uncordon { .. }
            | AdminRequest::Tenants(_)
            | AdminRequest::Changes(_)
            | AdminRequest::Forget { .. }
            | AdminRequest::Peer(_) => 3,
            _ => 1,
        }
    }

    /// True when the request may change something. Then its outcome can be unknown, and it is done once however often
    /// it is asked.
    pub const fn changes(&self) -> bool {
        match self {
            AdminRequest::Migrate
            | AdminRequest::Append(_)
            | AdminRequest::CatchUp(_)
            | AdminRequest::Rebuild(_)
            | AdminRequest::Verify(_)
            | AdminRequest::Skip { .. }
            | AdminRequest::Pause { .. }
            | AdminRequest::Resume { .. }
            | AdminRequest::Retry { .. }
            | AdminRequest::ResumeRun { .. }
            | AdminRequest::CancelRun { .. }
            | AdminRequest::Cordon { .. }
            | AdminRequest::Uncordon { .. }
            | AdminRequest::Forget { .. } => true,
            AdminRequest::RebuildCheck(_)
            | AdminRequest::Status(_)
            | AdminRequest::Health(_)
            | AdminRequest::Why { .. }
            | AdminRequest::Digest(_)
            | AdminRequest::ReferenceDigest { .. }
            | AdminRequest::Trace(_)
            | AdminRequest::Events(_)
            | AdminRequest::Subgraph(_)
            | AdminRequest::Edges(_)
            | AdminRequest::Precedents(_)
            | AdminRequest::Failures(_)
            | AdminRequest::Failure { .. }
            | AdminRequest::Runs(_)
            | AdminRequest::Run { .. }
            | AdminRequest::WatchRun { .. }
            | AdminRequest::Tree(_)
            | AdminRequest::Cluster
            | AdminRequest::Peer(_)
            | AdminRequest::Tenants(_)
            | AdminRequest::Changes(_)
            | AdminRequest::ExportStart
            | AdminRequest::ExportPage(_) => false,
        }
    }
}

/// A few lines of an import or append, at most [`CHUNK_LINES_MAX`](crate::lines::CHUNK_LINES_MAX).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendRequest {
    /// Tenant of the lines that name none.
    pub tenant: Option<TenantId>,
    /// True to store all lines or none, atomic per run of consecutive lines of one tenant. False to store each line by
    /// itself.
    pub all_or_nothing: bool,
    /// Rule for what counts as a credential; the node's configuration when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_guard: Option<CredentialGuard>,
    /// Lines to store, in order.
    pub lines: Vec<OfferedLine>,
}

/// A line of an import or append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedLine {
    /// Number of the line in the file, from 1.
    pub number: u64,
    /// JSON text, or the reason why the line could not be read.
    pub text: Result<String, LineFault>,
}

/// Reason why a line is no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFault {
    /// The line is longer than an event may be.
    TooLong,
    /// The line is not UTF-8.
    NotUtf8 {
        /// Byte of the line that is not UTF-8, from 1.
        byte: u64,
    },
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
}

/// A page of the live actors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRequest {
    /// Name of the node whose actors are shown, asked through the answering node. None for the answering node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Path of an actor: it and the actors below it are shown; the whole tree when none.
    pub under: Option<String>,
    /// Path behind which the page starts.
    pub after: Option<String>,
    /// Most actors per page.
    pub limit: i64,
}

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsRequest {
    /// Tenant behind which the page starts.
    #[serde(default)]
    pub after: Option<TenantId>,
    /// Most tenants per page, at most [`TENANTS_PAGE_MAX`].
    pub limit: i64,
}

/// Most tenants per page.
pub const TENANTS_PAGE_MAX: i64 = 10_000;

/// A choice of scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeFilter {
    /// Tenant of the scopes; all when none (`digest`: `default`).
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
}

/// A page of the status of some scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRequest {
    /// Scopes that are asked about.
    #[serde(flatten)]
    pub filter: ScopeFilter,
    /// State of the wanted scopes; any when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ScopeState>,
    /// True for scopes with drift only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
    /// Tenant behind which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TenantId>,
    /// Most scopes per page; a tenant's scopes are never split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// A query over the read models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest<Q> {
    /// Tenant of the read models.
    pub tenant: Option<TenantId>,
    /// Required freshness of the answer.
    pub freshness: Freshness,
    /// The query itself.
    pub query: Q,
}

/// Request for a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Tenant of the trace.
    pub tenant: Option<TenantId>,
    /// Id of the trace.
    pub trace_id: String,
    /// Position behind which events are read.
    pub after: LogSeq,
    /// Most events per page.
    pub limit: i64,
    /// Required freshness of the summary.
    pub freshness: Freshness,
}

/// Request for a stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Position behind which events are read (exclusive).
    pub since_log_seq: LogSeq,
    /// Last position (inclusive); the log's end when none.
    pub until_log_seq: Option<LogSeq>,
    /// Most events per page.
    pub limit: i64,
}

/// A page of an export. The asker chooses shorter pages when events are large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// True when each line names its tenant.
    pub named: bool,
    /// Position behind which events are read (exclusive).
    pub after: LogSeq,
    /// Last position (inclusive).
    pub upto: LogSeq,
    /// Most events per page.
    pub limit: i64,
}

/// Request for failures, skips or jobs, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Tenant of the entries; all when none.
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
    /// True to list only open failures, skips in force, or jobs that have not ended.
    pub open_only: bool,
    /// Most entries per page.
    pub limit: i64,
    /// Id of the entry behind which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// True for skips instead of failures.
    #[serde(default)]
    pub skips: bool,
}

/// A page of the changes that operators asked for, latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesRequest {
    /// Tenant of the log. When none: changes about any log, and about none.
    pub tenant: Option<TenantId>,
    /// Number of the change before which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// Most entries per page.
    pub limit: i64,
}
