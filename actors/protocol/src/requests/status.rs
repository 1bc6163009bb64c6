//! State of scopes, and its reason.

use crate::live::LiveScope;
use crate::request::{Facts, FromNode, Reply, Request, Right, ScopeFilter, Subject};
use crate::{MemberStatus, Partial};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_records::{Backend, Drift, Generation, Lag, OpenWriter, Stray};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

impl Request for StatusRequest {
    const FACTS: Facts = Facts::reads("status", Some(Right::Observe));
    type Reply = StatusReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.filter.tenant)
    }
}

/// State of each scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Address of the database, without secrets.
    pub database: String,
    /// Engine of the database.
    pub backend: Backend,
    /// Last log position that was ever drawn.
    pub sequence: LogSeq,
    /// True when everything up to `sequence` may be read now. Otherwise an appender in `waiting_for` may still deliver.
    pub mark_is_safe: bool,
    /// Open appenders.
    pub waiting_for: Vec<OpenWriter>,
    /// Page of scopes, by tenant, in catalogue order.
    pub scopes: Vec<ScopeStatus>,
    /// True when there are more. Ask again with `after` = the last scope's tenant.
    #[serde(default)]
    pub more: bool,
    /// Summary of all scopes, regardless of the page.
    #[serde(default)]
    pub summary: StatusSummary,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
    /// Stray rows: every list leaves them out. Reported when all tenants are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<Stray>,
    /// Nodes that take no tenants: dead, cordoned or draining.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_service: Vec<MemberStatus>,
    /// Sentence that nothing is sealed, for lack of a key. Operators of all tenants get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsealed: Option<String>,
}

impl Reply for StatusReply {
    fn advice(&mut self) -> Vec<&mut String> {
        self.scopes.iter_mut().map(|scope| &mut scope.why).collect()
    }
}

/// Number of scopes, in total and per state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSummary {
    /// Tenants with scopes or events.
    pub tenants: u64,
    /// Scopes of these tenants.
    pub scopes: u64,
    /// Scopes per state, by the state's word; states without a scope are left out.
    pub states: BTreeMap<String, u64>,
}

/// Status of a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeStatus {
    /// Tenant of the scope.
    pub tenant: TenantId,
    /// Projection of the scope.
    pub projection: String,
    /// State as one word.
    pub state: ScopeState,
    /// Position up to which everything is applied.
    pub cursor: LogSeq,
    /// Position of the tenant's last event.
    pub last_log_seq: LogSeq,
    /// Lag in events and seconds.
    pub lag: Lag,
    /// Time since the cursor last moved, seconds; none when the scope has no row yet.
    pub cursor_age_seconds: Option<f64>,
    /// Owner of the scope.
    pub owner: Option<String>,
    /// True while that owner's lease runs.
    pub owner_live: bool,
    /// Epoch of the scope.
    pub epoch: i64,
    /// Generation that readers see.
    pub generation: Option<Generation>,
    /// Rolling digest at `cursor`.
    pub digest: Option<String>,
    /// Version of the rules that wrote the rows.
    pub version: Option<i32>,
    /// Number of poison events that stop the scope.
    pub open_failures: u64,
    /// True when its live rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
    /// Drift that the last verify found, until the rows are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Job that works on the scope.
    pub active_run: Option<String>,
    /// Reason why the scope lags, in a sentence.
    pub why: String,
    /// Category of the error that stops the scope; none when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Category>,
    /// Node that the next event brings the scope to, when no node holds it and none has to before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_owner: Option<String>,
    /// State of the scope's worker, when a node runs one and could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveScope>,
    /// Node of that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_on: Option<String>,
}

impl ScopeStatus {
    /// True when the tenant has an event that the scope has not applied.
    pub fn is_behind(&self) -> bool {
        self.cursor < self.last_log_seq
    }
}

/// State of a scope, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeState {
    /// Every visible event is applied.
    Current,
    /// A job or worker applies events.
    Working,
    /// The scope is behind and no process applies its events.
    Unowned,
    /// An appender may still deliver.
    Waiting,
    /// The scope is behind, and its owner or node has not applied the events yet.
    Behind,
    /// A fault may pass; the scope's worker tries again.
    Retrying,
    /// A poison event or a lasting fault stops the scope.
    Failed,
    /// An operator paused the scope.
    Paused,
}

impl ScopeState {
    /// Every state.
    pub const ALL: [ScopeState; 8] = [
        ScopeState::Current,
        ScopeState::Working,
        ScopeState::Unowned,
        ScopeState::Waiting,
        ScopeState::Behind,
        ScopeState::Retrying,
        ScopeState::Failed,
        ScopeState::Paused,
    ];

    /// Finds the state with this word.
    pub fn parse(word: &str) -> Option<ScopeState> {
        ScopeState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Returns the word.
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
