//! Nodes of the cluster, and requests of one node to another.

use super::{AnswerFrom, Asking, NodeAnswers};
use decisiongraph_protocol::{
    AdminError, ClusterReply, ClusterRequest, CordonRequest, ForgetRequest, FromNode, Handle, PeerReply, PeerRequest,
    SealMemoryReply, SealMemoryRequest, UncordonRequest,
};

impl AnswerFrom<FromNode, PeerRequest> for Asking<'_> {
    async fn answer_from(&self, request: PeerRequest) -> Result<PeerReply, AdminError> {
        Ok(self.node.peer(request))
    }
}

impl AnswerFrom<FromNode, SealMemoryRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealMemoryRequest) -> Result<SealMemoryReply, AdminError> {
        self.node.seal_memory(request.origin.as_deref()).await
    }
}

impl AnswerFrom<FromNode, ClusterRequest> for Asking<'_> {
    async fn answer_from(&self, request: ClusterRequest) -> Result<ClusterReply, AdminError> {
        self.database().answer(request).await.map(|reply| self.node.known_of(reply))
    }
}

impl AnswerFrom<FromNode, CordonRequest> for Asking<'_> {
    async fn answer_from(&self, request: CordonRequest) -> Result<ClusterReply, AdminError> {
        self.members_changed(self.database().answer(request).await?)
    }
}

impl AnswerFrom<FromNode, UncordonRequest> for Asking<'_> {
    async fn answer_from(&self, request: UncordonRequest) -> Result<ClusterReply, AdminError> {
        self.members_changed(self.database().answer(request).await?)
    }
}

impl AnswerFrom<FromNode, ForgetRequest> for Asking<'_> {
    async fn answer_from(&self, request: ForgetRequest) -> Result<ClusterReply, AdminError> {
        self.members_changed(self.database().answer(request).await?)
    }
}

impl Asking<'_> {
    fn members_changed(&self, reply: ClusterReply) -> Result<ClusterReply, AdminError> {
        self.node.0.signals.members.send();
        Ok(self.node.known_of(reply))
    }
}

impl NodeAnswers {
    /// Adds facts that only a node knows.
    fn known_of(&self, mut cluster: ClusterReply) -> ClusterReply {
        let parts = &self.0;
        cluster.answered_by = Some(parts.owner.node.clone());
        cluster.moving = parts.board.placement.moving() as u64;
        cluster.links = parts.links.states();
        for member in &mut cluster.members {
            member.tenants = parts.board.placement.share(&member.node).map(|tenants| tenants as u64);
        }
        cluster
    }
}
