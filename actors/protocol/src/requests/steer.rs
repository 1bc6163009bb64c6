//! Decisions of an operator about scopes: pause, resume, retry.

use super::jobs::JobReply;
use crate::request::{Facts, FromNode, Reply, Request, Right, Subject, change_of_scopes};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{NewChange, Paused};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Apply no events of these scopes, durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRequest {
    /// Tenant of the scopes.
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
    /// Reason of the operator.
    pub reason: String,
}

impl Request for PauseRequest {
    const FACTS: Facts = Facts::changes("pause", Some(Right::Steer));
    type Reply = SteerReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of_scopes("pause", &self.tenant, &self.projection, Some(&self.reason)))
    }
}

/// Apply the events of these scopes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeRequest {
    /// Tenant of the scopes.
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Request for ResumeRequest {
    const FACTS: Facts = Facts::changes("resume", Some(Right::Steer));
    type Reply = SteerReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of_scopes("resume", &self.tenant, &self.projection, self.reason.as_ref()))
    }
}

/// Scopes after a pause or resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerReply {
    /// Scopes in catalogue order.
    pub scopes: Vec<SteeredScope>,
}

impl Reply for SteerReply {}

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

/// Try these scopes again now, whatever stopped them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRequest {
    /// Tenant of the scopes.
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Request for RetryRequest {
    const FACTS: Facts = Facts::changes("retry", Some(Right::Replay));
    type Reply = JobReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }

    fn change(&self, id: Uuid) -> Option<NewChange> {
        let change = change_of_scopes("retry", &self.tenant, &self.projection, self.reason.as_ref());
        Some(NewChange { run_id: Some(id), ..change })
    }
}
