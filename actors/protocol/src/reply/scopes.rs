//! How scopes stand: status, health, why.

use crate::live::LiveScope;
use crate::{MemberStatus, Partial};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_records::{Backend, Drift, Generation, Lag, OpenWriter, Stray};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where each scope stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Without secrets.
    pub database: String,
    /// Which engine.
    pub backend: Backend,
    /// The last log position that was ever drawn.
    pub sequence: LogSeq,
    /// Whether everything up to `sequence` may be read now. Otherwise somebody in `waiting_for` may still deliver.
    pub mark_is_safe: bool,
    /// Open appenders.
    pub waiting_for: Vec<OpenWriter>,
    /// By tenant, in catalogue order: a page of them.
    pub scopes: Vec<ScopeStatus>,
    /// Whether there are more: ask again with `after` = the last scope's tenant.
    #[serde(default)]
    pub more: bool,
    /// What all of them are, whatever the page.
    #[serde(default)]
    pub summary: StatusSummary,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
    /// What is stored and nobody's, and therefore left out; told when all tenants are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<Stray>,
    /// Nodes that take no tenants: dead, cordoned or draining.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_service: Vec<MemberStatus>,
}

/// How many scopes there are, and in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSummary {
    /// Tenants with scopes or events.
    pub tenants: u64,
    /// Their scopes.
    pub scopes: u64,
    /// How many are in each state, by its word; states that none is in are left out.
    pub states: BTreeMap<String, u64>,
}

/// A scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeStatus {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub projection: String,
    /// In one word.
    pub state: ScopeState,
    /// Everything up to here is applied.
    pub cursor: LogSeq,
    /// The tenant's last event.
    pub last_log_seq: LogSeq,
    /// Events and seconds behind.
    pub lag: Lag,
    /// Since the cursor last moved, seconds; none when it never did.
    pub cursor_age_seconds: Option<f64>,
    /// Who owns it.
    pub owner: Option<String>,
    /// Whether that owner's lease runs.
    pub owner_live: bool,
    /// The epoch.
    pub epoch: i64,
    /// What readers see.
    pub generation: Option<Generation>,
    /// Rolling digest at `cursor`.
    pub digest: Option<String>,
    /// Version of the rules that wrote the rows.
    pub version: Option<i32>,
    /// Poison events that stop it.
    pub open_failures: u64,
    /// Whether its live rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
    /// What the last verify found, when that was drift and nothing has replaced the rows since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The job that works on it.
    pub active_run: Option<String>,
    /// Why it lags, in a sentence.
    pub why: String,
    /// The category of what stops it, when something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Category>,
    /// The node that its next event brings it to, when nobody holds it and it needs nobody before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_owner: Option<String>,
    /// What its worker is doing, when a node runs one and could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveScope>,
    /// That node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_on: Option<String>,
}

impl ScopeStatus {
    /// Whether the tenant has an event that it has not seen.
    pub fn is_behind(&self) -> bool {
        self.cursor < self.last_log_seq
    }
}

/// A scope in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeState {
    /// It has seen every event.
    Current,
    /// A job works on it.
    Working,
    /// It is behind and nobody applies its events.
    Unowned,
    /// An appender may still deliver.
    Waiting,
    /// It is behind; its owner is alive.
    Behind,
    /// A fault may pass; its worker tries again.
    Retrying,
    /// A poison event stops it.
    Failed,
    /// Somebody asked to leave it alone.
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

    /// The state with this word.
    pub fn parse(word: &str) -> Option<ScopeState> {
        ScopeState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The word.
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

/// Whether somebody has to act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthReply {
    /// The worst of the findings.
    pub health: HealthWord,
    /// Scopes looked at.
    pub scopes: u64,
    /// What is not as it should be, worst first.
    pub findings: Vec<Finding>,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

/// Health in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum HealthWord {
    Ok,
    Degraded,
    Failed,
}

impl HealthWord {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthWord::Ok => "ok",
            HealthWord::Degraded => "degraded",
            HealthWord::Failed => "failed",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub health: HealthWord,
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub next: String,
}

/// Why scopes lag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyReply {
    /// What concerns every scope: the database, the node's lease, appenders that hold up the mark.
    pub causes: Vec<Finding>,
    /// The scopes, by tenant, in catalogue order: those that are not current, unless all were asked for. The first of them.
    pub scopes: Vec<ScopeWhy>,
    /// Whether `scopes` leaves some out; `groups` counts them.
    #[serde(default)]
    pub more: bool,
    /// The same scopes by state and cause.
    #[serde(default)]
    pub groups: Vec<WhyGroup>,
    /// Scopes looked at.
    pub scopes_total: u64,
    /// Nodes that could not be asked what their workers do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
}

/// Scopes that lag for the same reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyGroup {
    /// In one word.
    pub state: ScopeState,
    /// The category of what stops them, when something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Category>,
    /// A verify found drift in them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
    /// How many.
    pub scopes: u64,
    /// All of them, when they are few; the first one, when they are many.
    pub examples: Vec<ScopeWhy>,
    /// What to do: how they are listed, when they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why one scope lags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeWhy {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub projection: String,
    /// In one word.
    pub state: ScopeState,
    /// Events and seconds behind.
    pub lag: Lag,
    /// In one sentence.
    pub why: String,
    /// What to do; none when there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
