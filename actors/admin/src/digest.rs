//! The digests that prove the rows: rolling, and those of the Python reference.

use super::handler::{StoreAnswers, limit_in, projections, tenant_or_default};
use decisiongraph_engine::queries::{self, ReferenceDigests};
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_protocol::{
    AdminError, CHECKPOINTS_MAX, CheckpointsReply, CheckpointsRequest, DigestReply, DigestRequest, Handle,
    ReferenceDigestRequest, ScopeCheckpoint, ScopeDigest,
};
use decisiongraph_store::Scope;

impl Handle<DigestRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: DigestRequest) -> Result<DigestReply, AdminError> {
        let filter = request.0;
        let tenant = tenant_or_default(filter.tenant);
        let view = self.store().snapshot().await?;
        let end = view.last_log_seq(&tenant, None).await?;
        let mut digests = Vec::new();
        for projection in projections(filter.projection.as_deref())? {
            let row = view.scope(&Scope::new(&tenant, projection)).await?;
            let generation = row.as_ref().map(|row| row.generation);
            let deviating = row.as_ref().is_some_and(|row| row.deviating);
            let position = row.map(|row| row.position);
            let cursor = position.as_ref().map_or(LogSeq::ORIGIN, |position| position.cursor);
            let version = position.as_ref().map_or(projection.version(), |position| position.version);
            let digest = position.map_or_else(RollingDigest::default, |position| position.digest).to_text();
            let last_log_seq = view.last_log_seq(&tenant, Some(cursor)).await?;
            digests.push(ScopeDigest {
                projection: projection.name().to_owned(),
                cursor,
                last_log_seq,
                generation,
                version,
                digest,
                deviating,
            });
        }
        Ok(DigestReply { tenant, last_log_seq: end, digests })
    }
}

impl Handle<CheckpointsRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: CheckpointsRequest) -> Result<CheckpointsReply, AdminError> {
        let limit = limit_in(request.limit, CHECKPOINTS_MAX)?;
        let tenant = tenant_or_default(request.of.tenant);
        let view = self.store().snapshot().await?;
        let mut checkpoints = Vec::new();
        for projection in projections(request.of.projection.as_deref())? {
            let of = |checkpoint| ScopeCheckpoint { projection: projection.name().to_owned(), checkpoint };
            checkpoints.extend(view.checkpoints(&Scope::new(&tenant, projection), limit).await?.into_iter().map(of));
        }
        Ok(CheckpointsReply { tenant, checkpoints })
    }
}

impl Handle<ReferenceDigestRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ReferenceDigestRequest) -> Result<ReferenceDigests, AdminError> {
        let view = self.store().snapshot().await?;
        Ok(queries::reference_digests(&*view, &tenant_or_default(request.tenant)).await?)
    }
}
