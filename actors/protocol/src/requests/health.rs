//! Health of scopes, and the reasons why they lag.

use super::status::ScopeState;
use crate::Partial;
use crate::request::{Facts, FromNode, Reply, Request, Right, ScopeFilter, Subject};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_records::Lag;
use serde::{Deserialize, Serialize};

/// Health of scopes: tells if an operator has to act.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRequest(pub ScopeFilter);

impl Request for HealthRequest {
    const FACTS: Facts = Facts::reads("health", Some(Right::Observe));
    type Reply = HealthReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.0.tenant)
    }
}

/// Health of scopes: tells if an operator has to act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthReply {
    /// The worst of the findings.
    pub health: HealthWord,
    /// Number of scopes checked.
    pub scopes: u64,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

impl Reply for HealthReply {
    fn advice(&mut self) -> Vec<&mut String> {
        self.findings.iter_mut().map(|finding| &mut finding.next).collect()
    }
}

/// Health as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum HealthWord {
    Ok,
    Degraded,
    Failed,
}

impl HealthWord {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthWord::Ok => "ok",
            HealthWord::Degraded => "degraded",
            HealthWord::Failed => "failed",
        }
    }
}

/// A condition that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Severity of the finding.
    pub health: HealthWord,
    /// Subject of the finding.
    pub subject: String,
    /// Description of the problem.
    pub message: String,
    /// Next step for the operator; empty for an information that needs none.
    pub next: String,
}

/// Reasons why scopes lag, and the next steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRequest {
    /// Scopes that are asked about.
    pub filter: ScopeFilter,
    /// True to include the current scopes.
    pub all: bool,
}

impl Request for WhyRequest {
    const FACTS: Facts = Facts::reads("why", Some(Right::Observe));
    type Reply = WhyReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.filter.tenant)
    }
}

/// Reasons why scopes lag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyReply {
    /// Findings about every scope: the database, the node's lease, nodes out of service, appenders that hold up the
    /// mark.
    pub causes: Vec<Finding>,
    /// First scopes by tenant, in catalogue order. Only scopes that are not current or have drift, unless all were
    /// asked for.
    pub scopes: Vec<ScopeWhy>,
    /// True when `scopes` leaves some out. `groups` counts the lagging and drifted scopes among them.
    #[serde(default)]
    pub more: bool,
    /// Scopes that are not current or have drift, grouped by state and cause.
    #[serde(default)]
    pub groups: Vec<WhyGroup>,
    /// Number of scopes checked.
    pub scopes_total: u64,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

impl Reply for WhyReply {
    fn advice(&mut self) -> Vec<&mut String> {
        let causes = self.causes.iter_mut().map(|cause| &mut cause.next);
        causes.chain(self.scopes.iter_mut().filter_map(|scope| scope.next.as_mut())).collect()
    }
}

/// Scopes that lag for the same reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyGroup {
    /// State as one word.
    pub state: ScopeState,
    /// Category of the error that stops the scopes; none when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Category>,
    /// True when a verify found drift in them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
    /// Number of scopes.
    pub scopes: u64,
    /// All scopes of a small group; the first scope of a large one.
    pub examples: Vec<ScopeWhy>,
    /// Command that lists a large group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Reason why one scope lags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeWhy {
    /// Tenant of the scope.
    pub tenant: TenantId,
    /// Projection of the scope.
    pub projection: String,
    /// State as one word.
    pub state: ScopeState,
    /// Lag in events and seconds.
    pub lag: Lag,
    /// Reason in one sentence.
    pub why: String,
    /// Next step; none when there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
