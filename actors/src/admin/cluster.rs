//! The members of the cluster, and what an operator wants of one: no more tenants, none at all, as before, or that it is forgotten. All
//! durable, by name.
//!
//! *Never:* moves a tenant; the nodes do so when they see the change.

use super::asker::check_reason;
use super::peer::LinkState;
use super::reply::{Finding, HealthWord};
use super::{AdminError, Command};
use crate::engine::Engine;
use decisiongraph_projections::Category;
use decisiongraph_store::{Backend, Cordon, Member, Store};
use serde::{Deserialize, Serialize};

/// The cluster, as the database knows it and, over a node, as that node does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterReply {
    /// The node that answered; none without one.
    pub answered_by: Option<String>,
    /// By name: the live ones, and those that died within a day.
    pub members: Vec<MemberStatus>,
    /// Tenants that the answering node holds and is handing over.
    pub moving: u64,
    /// The answering node's links to the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkState>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub node: String,
    /// Drawn at its start.
    pub incarnation: String,
    /// What it is up to.
    pub state: MemberState,
    /// Where the others reach it; nowhere when none.
    pub address: Option<String>,
    /// Its program's version.
    pub program: String,
    /// The newest protocol that it speaks.
    pub protocol: i32,
    /// How long its lease still runs, on the database's clock, milliseconds.
    pub lease_left_ms: u64,
    /// How long its lease has been over, milliseconds; 0 while it runs.
    #[serde(default)]
    pub dead_for_ms: u64,
    /// Since when this incarnation is there, RFC 3339.
    pub joined_at: String,
    /// Who asked that it takes no more tenants, and why.
    pub cordon: Option<Cordon>,
    /// Tenants that are placed on it, as the answering node sees it; none when it does not say (no node, or one node alone).
    pub tenants: Option<u64>,
}

/// What a member is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It takes tenants.
    Active,
    /// It keeps the tenants that it has and takes no more.
    Cordoned,
    /// It gives its tenants away.
    Draining,
    /// Its lease is over; its tenants are the others'.
    Dead,
}

impl MemberState {
    /// Every state.
    pub const ALL: [MemberState; 4] =
        [MemberState::Active, MemberState::Cordoned, MemberState::Draining, MemberState::Dead];

    /// What this member is up to.
    pub fn of(member: &Member) -> MemberState {
        match (member.is_live(), &member.cordon) {
            (false, _) => MemberState::Dead,
            (true, None) => MemberState::Active,
            (true, Some(cordon)) if cordon.draining => MemberState::Draining,
            (true, Some(_)) => MemberState::Cordoned,
        }
    }

    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberState::Active => "active",
            MemberState::Cordoned => "cordoned",
            MemberState::Draining => "draining",
            MemberState::Dead => "dead",
        }
    }
}

/// The members, out of the database.
pub async fn cluster(store: &dyn Store) -> Result<ClusterReply, AdminError> {
    let members = store.view().await?.members().await?;
    Ok(ClusterReply {
        answered_by: None,
        members: members.into_iter().map(status).collect(),
        moving: 0,
        links: Vec::new(),
    })
}

/// Those of these members that take no tenants.
pub(super) fn out_of_service(members: Vec<Member>) -> Vec<MemberStatus> {
    members.into_iter().map(status).filter(|member| member.state != MemberState::Active).collect()
}

/// The reason why a node takes no tenants, and the step that ends it. Every node finds the same of every other.
pub(super) fn missing(member: &MemberStatus) -> Finding {
    let (message, next) = match &member.cordon {
        Some(cordon) if member.state != MemberState::Dead => (
            format!("it takes no more tenants: {} by {}: {}", member.state.as_str(), cordon.by, cordon.reason),
            format!("{} when it may take tenants again", Command::about_all("uncordon").word(&member.node)),
        ),
        _ => (
            format!(
                "it died: its lease ended {:.0} s ago without an orderly stop; live nodes take its tenants over",
                member.dead_for_ms as f64 / 1_000.0
            ),
            format!("start it again; if it will not come back: {}", Command::about_all("forget").word(&member.node)),
        ),
    };
    Finding { health: HealthWord::Degraded, subject: format!("node {}", member.node), message, next }
}

fn status(member: Member) -> MemberStatus {
    MemberStatus {
        state: MemberState::of(&member),
        node: member.owner.node,
        incarnation: member.owner.incarnation.to_string(),
        address: member.facts.address,
        program: member.facts.program,
        protocol: member.facts.protocol,
        lease_left_ms: u64::try_from(member.lease_left.as_millis()).unwrap_or(u64::MAX),
        dead_for_ms: u64::try_from(member.dead_for.as_millis()).unwrap_or(u64::MAX),
        joined_at: member.joined_at,
        cordon: member.cordon,
        tenants: None,
    }
}

/// Cordons a node, or has it drained. `not_found` when no node of that name is known.
pub async fn cordon(
    engine: &Engine,
    node: &str,
    draining: bool,
    reason: &str,
    by: &str,
) -> Result<ClusterReply, AdminError> {
    check_reason(reason)?;
    let store = &**engine.store();
    known(store, node).await?;
    store.cordon(node, draining, reason, by).await?;
    cluster(store).await
}

/// Ends that.
pub async fn uncordon(engine: &Engine, node: &str) -> Result<ClusterReply, AdminError> {
    let store = &**engine.store();
    known(store, node).await?;
    store.uncordon(node).await?;
    cluster(store).await
}

/// Forgets a dead node, with what operators wanted of it. `not_found` when no node of that name is known, `conflict` while it lives.
pub async fn forget(engine: &Engine, node: &str) -> Result<ClusterReply, AdminError> {
    let store = &**engine.store();
    if store.forget(node).await? {
        return cluster(store).await;
    }
    member(store, node).await?;
    Err(AdminError::new(Category::Conflict, format!("node `{node}` lives: its lease runs, so nothing was forgotten"))
        .next(format!(
            "stop it with SIGTERM, and it leaves by itself; {} gives its tenants away first",
            Command::about_all("drain").word(node)
        )))
}

async fn known(store: &dyn Store, node: &str) -> Result<(), AdminError> {
    if store.backend() == Backend::Sqlite {
        return Err(AdminError::new(
            Category::InvalidArgument,
            "an embedded store has one node: nobody takes its tenants",
        )
        .next("`decisiongraph pause --all-tenants` leaves its scopes alone; SIGTERM stops the node"));
    }
    member(store, node).await
}

/// `not_found` when no node of that name is known.
async fn member(store: &dyn Store, node: &str) -> Result<(), AdminError> {
    if store.view().await?.members().await?.iter().any(|member| member.owner.node == node) {
        return Ok(());
    }
    Err(AdminError::new(Category::NotFound, format!("there is no node `{node}`"))
        .next("`decisiongraph cluster` lists them"))
}
