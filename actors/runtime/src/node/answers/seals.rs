//! The sealed log, as the database has it and as this node's notary and scrubber see it.

use super::{AnswerFrom, Asking};
use crate::cluster::memories;
use crate::node::NodeParts;
use decisiongraph_admin::narrow;
use decisiongraph_admin::seal_status::health;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::{
    AdminError, FromNode, Handle, SealForkRequest, SealFound, SealInitRequest, SealMemoryReply, SealNowRequest, SealOf,
    SealRebuildRequest, SealScrub, SealStatusReply, SealStatusRequest, SealedReply,
};

impl AnswerFrom<FromNode, SealStatusRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealStatusRequest) -> Result<SealStatusReply, AdminError> {
        let mut reply = self.database().answer(request).await?;
        reply.seals.iter_mut().for_each(|seal| self.scrubbed(seal));
        reply.without_rotation = self.without_rotation().await;
        if !self.reaches_all {
            narrow::seals(&mut reply);
        }
        Ok(reply)
    }
}

impl AnswerFrom<FromNode, SealNowRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealNowRequest) -> Result<SealedReply, AdminError> {
        let answer = self.database().answer(request).await;
        answer.map(|reply| self.narrowed(reply)).map_err(|error| self.told(error))
    }
}

impl AnswerFrom<FromNode, SealInitRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealInitRequest) -> Result<SealedReply, AdminError> {
        let answer = self.database().answer(request).await;
        answer.map(|reply| self.changed(reply)).map_err(|error| self.told(error))
    }
}

impl AnswerFrom<FromNode, SealForkRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealForkRequest) -> Result<SealedReply, AdminError> {
        let answer = self.database().answer(request).await;
        answer.map(|reply| self.changed(reply)).map_err(|error| self.told(error))
    }
}

impl AnswerFrom<FromNode, SealRebuildRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealRebuildRequest) -> Result<SealedReply, AdminError> {
        let answer = self.database().answer(request).await;
        answer.map(|reply| self.changed(reply)).map_err(|error| self.told(error))
    }
}

impl Asking<'_> {
    /// Has the tenant's workers look at the tree again, on every node.
    fn changed(&self, reply: SealedReply) -> SealedReply {
        self.node.reconsider(&reply.tenant);
        self.narrowed(reply)
    }

    fn narrowed(&self, mut reply: SealedReply) -> SealedReply {
        if !self.reaches_all {
            narrow::places(&mut reply.places);
        }
        reply
    }

    /// Leaves the names of places out of an error, for an asker who reaches some tenants only.
    fn told(&self, error: AdminError) -> AdminError {
        let Some(sealing) = self.node.0.board.seal.sealing.as_ref().filter(|_| !self.reaches_all) else { return error };
        let names: Vec<String> = sealing.memory.sources().map(|place| place.name()).collect();
        AdminError { message: narrow::by_kind(&error.message, &names), ..error }
    }

    /// Lists the nodes that sign with a key that was replaced on another node, this node included.
    async fn without_rotation(&self) -> Vec<String> {
        let NodeParts { owner, links, .. } = &self.node.0;
        let asked = memories(links, None).await.into_iter();
        let mut keys: Vec<(String, SealMemoryReply)> =
            asked.filter_map(|(node, reply)| Some((node, reply.ok()?))).collect();
        let own = self.node.seal_memory(None).await;
        keys.extend(own.map(|keys| (owner.node.clone(), keys)));
        behind(&keys)
    }

    /// Adds the rounds and the findings of this node's scrubber.
    fn scrubbed(&self, seal: &mut SealOf) {
        let board = &self.node.0.board.seal;
        let state = board.scrub.borrow();
        seal.scrub = state.rounds.get(&seal.tenant).map(|rounds| SealScrub {
            read: rounds.read,
            round_age_seconds: rounds.ended.map(|ended| ended.elapsed().as_secs_f64()),
        });
        let of_tenant = |(tenant, _): &&(TenantId, _)| *tenant == seal.tenant;
        let found = state.findings.iter().filter(of_tenant).map(|(_, finding)| SealFound::from(finding.clone()));
        let new: Vec<SealFound> = found.filter(|found| !seal.findings.contains(found)).collect();
        seal.findings.extend(new);
        seal.health = health(seal, board.sealing.as_ref().map(|sealing| &sealing.settings));
    }
}

/// Lists the nodes whose key is one that another node replaced.
fn behind(keys: &[(String, SealMemoryReply)]) -> Vec<String> {
    let replaced: Vec<&String> = keys.iter().filter_map(|(_, keys)| keys.former_key.as_ref()).collect();
    let is_behind = |keys: &SealMemoryReply| keys.key.as_ref().is_some_and(|key| replaced.contains(&key));
    keys.iter().filter(|(_, keys)| is_behind(keys)).map(|(node, _)| node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_behind_when_its_key_was_replaced_on_another() {
        let of = |node: &str, key: Option<&str>, former: Option<&str>| {
            let [key, former_key] = [key, former].map(|key| key.map(str::to_owned));
            (node.to_owned(), SealMemoryReply { newest: None, key, former_key })
        };
        assert!(behind(&[of("a", Some("1"), None), of("b", Some("2"), None)]).is_empty(), "a key per node");
        let keys = [of("a", Some("2"), Some("1")), of("b", Some("1"), None), of("c", None, None)];
        assert_eq!(behind(&keys), ["b"]);
        assert!(behind(&[of("a", Some("2"), Some("1")), of("b", Some("2"), Some("1"))]).is_empty());
    }
}
