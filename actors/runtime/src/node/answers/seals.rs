//! The sealed log, as the database has it and as this node's notary and scrubber see it.

use super::{AnswerFrom, Asking};
use decisiongraph_admin::narrow;
use decisiongraph_admin::seal_status::health;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::{
    AdminError, FromNode, Handle, SealForkRequest, SealFound, SealInitRequest, SealNowRequest, SealOf,
    SealRebuildRequest, SealScrub, SealStatusReply, SealStatusRequest, SealedReply,
};

impl AnswerFrom<FromNode, SealStatusRequest> for Asking<'_> {
    async fn answer_from(&self, request: SealStatusRequest) -> Result<SealStatusReply, AdminError> {
        let mut reply = self.database().answer(request).await?;
        reply.seals.iter_mut().for_each(|seal| self.scrubbed(seal));
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
