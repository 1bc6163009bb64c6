//! The members of the cluster, and an operator's changes to a node: cordon, drain, uncordon, forget. All are durable,
//! by the node's name.
//!
//! *Never:* moves a tenant; the nodes do so when they see the change.

use super::handler::StoreAnswers;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{
    AdminError, ClusterReply, ClusterRequest, Command, CordonRequest, Finding, ForgetRequest, Handle, HealthWord,
    MemberState, MemberStatus, UncordonRequest, check_reason,
};
use decisiongraph_store::{Backend, Member, Store};

impl Handle<ClusterRequest> for StoreAnswers<'_> {
    async fn answer(&self, _: ClusterRequest) -> Result<ClusterReply, AdminError> {
        let members = self.store().view().await?.members().await?;
        Ok(ClusterReply {
            answered_by: None,
            members: members.into_iter().map(MemberStatus::from).collect(),
            moving: 0,
            links: Vec::new(),
        })
    }
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
                "it died: its lease ended {:.0} s ago without an orderly stop; live nodes take over its tenants",
                member.dead_for_ms as f64 / 1_000.0
            ),
            format!("start it again; if it will not come back: {}", Command::about_all("forget").word(&member.node)),
        ),
    };
    Finding { health: HealthWord::Degraded, subject: format!("node {}", member.node), message, next }
}

// `not_found` when no node has that name, `invalid_argument` on an embedded store.
impl Handle<CordonRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: CordonRequest) -> Result<ClusterReply, AdminError> {
        check_reason(&request.reason)?;
        known(self.store(), &request.node).await?;
        self.store().cordon(&request.node, request.draining, &request.reason, self.by).await?;
        self.answer(ClusterRequest).await
    }
}

// `not_found` when no node has that name, `invalid_argument` on an embedded store.
impl Handle<UncordonRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: UncordonRequest) -> Result<ClusterReply, AdminError> {
        known(self.store(), &request.node).await?;
        self.store().uncordon(&request.node).await?;
        self.answer(ClusterRequest).await
    }
}

// Forgets the cordon too. `not_found` when no node of that name is known, `conflict` while it lives.
impl Handle<ForgetRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ForgetRequest) -> Result<ClusterReply, AdminError> {
        let (store, node) = (self.store(), request.node.as_str());
        if store.forget(node).await? {
            return self.answer(ClusterRequest).await;
        }
        member(store, node).await?;
        Err(AdminError::new(
            Category::Conflict,
            format!("node `{node}` is alive: its lease is valid, so it was not forgotten"),
        )
        .next(format!(
            "stop it with SIGTERM, and it leaves the cluster; {} first gives its tenants to other nodes",
            Command::about_all("drain").word(node)
        )))
    }
}

async fn known(store: &dyn Store, node: &str) -> Result<(), AdminError> {
    if store.backend() == Backend::Sqlite {
        return Err(AdminError::new(
            Category::InvalidArgument,
            "an embedded store has one node: no other node can take its tenants",
        )
        .next("`decisiongraph pause --all-tenants` stops work on its scopes; SIGTERM stops the node"));
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
