//! Answers out of the engine and the store: the one place where the command line and a node call them. The handlers are
//! in the files of their nouns.

use decisiongraph_engine::queries::READ_BYTES_MAX;
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::catalogue;
use decisiongraph_projections::seal::scope::{SEAL, SEAL_NAME};
use decisiongraph_projections::{Category, Projection, TenantId};
use decisiongraph_protocol::{
    AdminError, Handle, MigrateReply, MigrateRequest, PeerReply, PeerRequest, SealMemoryReply, SealMemoryRequest,
    TreeReply, TreeRequest,
};
use decisiongraph_store::{PageLimit, Store};
use uuid::Uuid;

/// Handlers of every request, for one asker.
pub struct StoreAnswers<'a> {
    /// Engine on an open store.
    pub engine: &'a Engine,
    /// Id of the request; of a job also the id of its run, when the request names none.
    pub id: Uuid,
    /// Name of the asker.
    pub by: &'a str,
    /// Cancels and follows a job.
    pub control: &'a Control,
}

impl StoreAnswers<'_> {
    pub(super) fn store(&self) -> &dyn Store {
        &**self.engine.store()
    }

    /// Limits a page to `rows_max` events, and to the memory that there is for them.
    pub(super) fn event_page(&self, rows_max: usize) -> PageLimit {
        let event_bytes_max = self.engine.budget().read_event_bytes_max();
        PageLimit { event_bytes_max, ..PageLimit::of(rows_max, READ_BYTES_MAX) }
    }
}

impl Handle<MigrateRequest> for StoreAnswers<'_> {
    async fn answer(&self, _: MigrateRequest) -> Result<MigrateReply, AdminError> {
        let applied = self.store().migrate().await?;
        Ok(MigrateReply { applied, schema: self.store().schema_status().await?.database })
    }
}

impl Handle<TreeRequest> for StoreAnswers<'_> {
    async fn answer(&self, _: TreeRequest) -> Result<TreeReply, AdminError> {
        Err(no_node())
    }
}

impl Handle<PeerRequest> for StoreAnswers<'_> {
    async fn answer(&self, _: PeerRequest) -> Result<PeerReply, AdminError> {
        Err(no_node())
    }
}

impl Handle<SealMemoryRequest> for StoreAnswers<'_> {
    async fn answer(&self, _: SealMemoryRequest) -> Result<SealMemoryReply, AdminError> {
        Err(no_node())
    }
}

/// Makes the error for a request that only a running node can answer, where no node was asked.
pub fn no_node() -> AdminError {
    AdminError::new(Category::Unavailable, "no node was asked: only a running node has actors")
        .next("start one with `decisiongraph node`, and ask it without --database")
}

pub(super) fn tenant_or_default(tenant: Option<TenantId>) -> TenantId {
    tenant.unwrap_or_default()
}

/// Finds the projection with this name; all when none was named.
pub(super) fn projections(name: Option<&str>) -> Result<Vec<&'static dyn Projection>, AdminError> {
    match name {
        None | Some("all") => Ok(catalogue::ALL.to_vec()),
        Some(name) => catalogue::find(name).map(|projection| vec![projection]).ok_or_else(|| {
            let names: Vec<_> = catalogue::ALL.iter().map(|projection| projection.name()).collect();
            AdminError::new(Category::InvalidArgument, format!("there is no projection `{name}`"))
                .next(format!("one of {}, or all", names.join(", ")))
        }),
    }
}

/// Finds the scope with this name, the seal included; all projections when none was named.
pub(super) fn scopes(name: Option<&str>) -> Result<Vec<&'static dyn Projection>, AdminError> {
    if name == Some(SEAL_NAME) {
        return Ok(vec![SEAL]);
    }
    projections(name)
}

pub(super) fn limit_in(limit: i64, limit_max: i64) -> Result<usize, AdminError> {
    if (1..=limit_max).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(AdminError::new(Category::InvalidArgument, format!("limit must be 1 to {limit_max}, not {limit}")))
}
