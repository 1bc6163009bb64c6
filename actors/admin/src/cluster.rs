//! The members of the cluster, and an operator's changes to a node: cordon, drain, uncordon, forget. All are durable,
//! by the node's name.
//!
//! *Never:* moves a tenant; the nodes do so when they see the change.

use decisiongraph_engine::Engine;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{
    AdminError, ClusterReply, Command, Finding, HealthWord, MemberState, MemberStatus, check_reason,
};
use decisiongraph_store::{Backend, Member, Store};

/// Reads the members from the database.
pub async fn cluster(store: &dyn Store) -> Result<ClusterReply, AdminError> {
    let members = store.view().await?.members().await?;
    Ok(ClusterReply {
        answered_by: None,
        members: members.into_iter().map(MemberStatus::from).collect(),
        moving: 0,
        links: Vec::new(),
    })
}

/// Selects the members that take no tenants.
pub(super) fn out_of_service(members: Vec<Member>) -> Vec<MemberStatus> {
    members.into_iter().map(MemberStatus::from).filter(|member| member.state != MemberState::Active).collect()
}

/// Finds the reason why a node takes no tenants, and the step that ends it. Every node gives the same finding about
/// every other.
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

/// Cordons or drains a node. `not_found` when no node has that name, `invalid_argument` on an embedded store.
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

/// Ends the cordon or drain of a node. `not_found` when no node has that name, `invalid_argument` on an embedded store.
pub async fn uncordon(engine: &Engine, node: &str) -> Result<ClusterReply, AdminError> {
    let store = &**engine.store();
    known(store, node).await?;
    store.uncordon(node).await?;
    cluster(store).await
}

/// Forgets a dead node, with its cordon. `not_found` when no node of that name is known, `conflict` while it lives.
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

/// Checks that a node of that name is known. `not_found` otherwise.
async fn member(store: &dyn Store, node: &str) -> Result<(), AdminError> {
    if store.view().await?.members().await?.iter().any(|member| member.owner.node == node) {
        return Ok(());
    }
    Err(AdminError::new(Category::NotFound, format!("there is no node `{node}`"))
        .next("`decisiongraph cluster` lists them"))
}
