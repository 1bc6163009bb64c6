//! What can be asked. Plain data with names on it: a field that is added later is optional, so that an older client still asks.

use super::peer::PeerRequest;
use super::reply::ScopeState;
use crate::query::{EdgesQuery, Freshness, SubgraphQuery};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::PrecedentFilter;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One request. `tenant: None` means every tenant where the request can speak of all, `default` everywhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Bring the schema up to this program's.
    Migrate,
    /// Take events in.
    Append(AppendRequest),
    /// Apply what is new.
    CatchUp(JobRequest),
    /// Build new generations from the log's origin and flip to them.
    Rebuild(JobRequest),
    /// What a rebuild would need and meet; changes nothing.
    RebuildCheck(JobRequest),
    /// Compare the stored digest, the rows and the log.
    Verify(JobRequest),
    /// Where each scope stands, and why.
    Status(StatusRequest),
    /// Whether somebody has to act.
    Health(ScopeFilter),
    /// Why scopes lag, and what to do about it.
    Why {
        /// Which scopes.
        filter: ScopeFilter,
        /// The current ones too.
        all: bool,
    },
    /// The rolling digests.
    Digest(ScopeFilter),
    /// The digests that the Python reference computes.
    ReferenceDigest {
        /// Whose.
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
    /// Finished traces that decided a like case.
    Precedents(ReadRequest<PrecedentFilter>),
    /// Poison events, or those of them that are skipped.
    Failures(ListRequest),
    /// One of them.
    Failure {
        /// Its id.
        failure_id: i64,
        /// Fold its batch again, offline, and tell what happens.
        #[serde(default)]
        replay: bool,
        /// The scope that it is believed to be of; `not_found` when it is not.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Leave the event of an open failure out of its projection.
    Skip {
        /// The failure.
        failure_id: i64,
        /// Why; not looked at when it is revoked.
        reason: String,
        /// End the skip instead.
        #[serde(default)]
        revoke: bool,
        /// The scope that the failure is believed to be of; `not_found` when it is not.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Leave the events of scopes alone, durably.
    Pause {
        /// Whose.
        tenant: Option<TenantId>,
        /// A name of the catalogue; all when none.
        projection: Option<String>,
        /// Why.
        reason: String,
    },
    /// Go on with them.
    Resume {
        /// Whose.
        tenant: Option<TenantId>,
        /// A name of the catalogue; all when none.
        projection: Option<String>,
        /// Why, for whoever reads it later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Try them again now, whatever stopped them.
    Retry {
        /// Whose.
        tenant: Option<TenantId>,
        /// A name of the catalogue; all when none.
        projection: Option<String>,
        /// Why, for whoever reads it later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Jobs.
    Runs(ListRequest),
    /// One of them.
    Run {
        /// Its id.
        run_id: Uuid,
        /// The scope that it is believed to be of; `not_found` when it is not.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Go on with an orphaned, failed or cancelled job.
    ResumeRun {
        /// Its id.
        run_id: Uuid,
        /// Why, for whoever reads it later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The scope that it is believed to be of; `not_found` when it is not.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Ask a job to stop at its next batch.
    CancelRun {
        /// Its id.
        run_id: Uuid,
        /// Why, for whoever reads it later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The scope that it is believed to be of; `not_found` when it is not.
        #[serde(default)]
        of: ScopeFilter,
    },
    /// Where a job stands: answered when it has ended, or after a wait.
    WatchRun {
        /// Its id.
        run_id: Uuid,
        /// Longest wait, milliseconds, at most [`WATCH_MS_MAX`]; at once when 0.
        wait_ms: u64,
    },
    /// The live actors of the node.
    Tree(TreeRequest),
    /// The nodes of the cluster.
    Cluster,
    /// Have a node take no more tenants.
    Cordon {
        /// Its name.
        node: String,
        /// Whether it also gives away those that it has.
        draining: bool,
        /// Why.
        reason: String,
    },
    /// Have it take tenants again.
    Uncordon {
        /// Its name.
        node: String,
        /// Why, for whoever reads it later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Forget a dead node.
    Forget {
        /// Its name.
        node: String,
        /// Why, for whoever reads it later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What nodes ask and tell each other.
    Peer(PeerRequest),
    /// The tenants that have events or scopes.
    Tenants(TenantsRequest),
    /// What operators asked for.
    Changes(ChangesRequest),
    /// How far the log can be exported now, and whose it is.
    ExportStart,
    /// A stretch of the log as JSON lines.
    ExportPage(ExportRequest),
}

/// Longest wait of a [`AdminRequest::WatchRun`], milliseconds.
pub const WATCH_MS_MAX: u64 = 1_000;

impl AdminRequest {
    /// What is asked, in one word, for metrics and spans.
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

    /// The protocol that brought it.
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

    /// Whether it may change something: then its outcome can be unknown, and it is done once however often it is asked.
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
    /// Of lines that name none.
    pub tenant: Option<TenantId>,
    /// All of them (atomic per run of consecutive lines of one tenant), or each for itself.
    pub all_or_nothing: bool,
    /// What counts as a credential; none for what the node is configured for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_guard: Option<CredentialGuard>,
    /// What is offered, in order.
    pub lines: Vec<OfferedLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedLine {
    /// Its number in the file, from 1.
    pub number: u64,
    /// The JSON text, or why it could not even be read.
    pub text: Result<String, LineFault>,
}

/// A line that is no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFault {
    /// Longer than an event may be.
    TooLong,
    /// Not UTF-8.
    NotUtf8 {
        /// Byte of the line, from 1.
        byte: u64,
    },
}

/// A job over one projection or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Whose log.
    pub tenant: Option<TenantId>,
    /// A name of the catalogue; all when none.
    pub projection: Option<String>,
    /// Stop here (catch-up).
    #[serde(default)]
    pub until: Option<LogSeq>,
    /// The id of its run; drawn when none. Over a node: that of the ask when none.
    #[serde(default)]
    pub run_id: Option<Uuid>,
    /// The asker does not wait for its end. Only a node can do that.
    #[serde(default)]
    pub detach: bool,
    /// Another node passes it on, because this one has the tenant: it is not passed on again.
    #[serde(default)]
    pub passed_on: bool,
    /// Why, for whoever reads it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A page of the live actors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRequest {
    /// Of the node of this name, asked through the one that is asked; of that one when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// This actor and those below it; the whole tree when none.
    pub under: Option<String>,
    /// Behind this path.
    pub after: Option<String>,
    /// Most actors.
    pub limit: i64,
}

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsRequest {
    /// Behind this one.
    #[serde(default)]
    pub after: Option<TenantId>,
    /// Most tenants, at most [`TENANTS_PAGE_MAX`].
    pub limit: i64,
}

/// Most tenants of a page.
pub const TENANTS_PAGE_MAX: i64 = 10_000;

/// Some scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeFilter {
    /// Of this tenant; of all when none (`digest`: of `default`).
    pub tenant: Option<TenantId>,
    /// A name of the catalogue; all when none.
    pub projection: Option<String>,
}

/// Which page of which scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRequest {
    /// Of these.
    #[serde(flatten)]
    pub filter: ScopeFilter,
    /// In this state only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ScopeState>,
    /// With drift only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
    /// Of the tenants behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TenantId>,
    /// Most scopes; a tenant is told whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// A query over the read models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest<Q> {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// How fresh the answer must be.
    pub freshness: Freshness,
    /// What is asked.
    pub query: Q,
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Which.
    pub trace_id: String,
    /// Events behind this position only.
    pub after: LogSeq,
    /// Most events.
    pub limit: i64,
    /// How fresh the summary must be.
    pub freshness: Freshness,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsRequest {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Exclusive.
    pub since_log_seq: LogSeq,
    /// Inclusive; to the end when none.
    pub until_log_seq: Option<LogSeq>,
    /// Most events.
    pub limit: i64,
}

/// A page of an export. The asker chooses shorter pages when events are large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Whose.
    pub tenant: TenantId,
    /// Whether each line names its tenant.
    pub named: bool,
    /// Exclusive.
    pub after: LogSeq,
    /// Inclusive.
    pub upto: LogSeq,
    /// Most events.
    pub limit: i64,
}

/// Failures, skips or jobs, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Of this tenant; of all when none.
    pub tenant: Option<TenantId>,
    /// A name of the catalogue; all when none.
    pub projection: Option<String>,
    /// Open failures, skips that hold, or jobs that have not ended, only.
    pub open_only: bool,
    /// Most entries.
    pub limit: i64,
    /// Behind this entry, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Skips instead of failures.
    #[serde(default)]
    pub skips: bool,
}

/// A page of the changes that operators asked for, latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesRequest {
    /// About this tenant's log; about any, and about none, when none.
    pub tenant: Option<TenantId>,
    /// Before this change, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// Most entries.
    pub limit: i64,
}
