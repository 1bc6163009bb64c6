//! Operators' changes to scopes: pause, resume, retry. All are durable and safe to repeat.
//!
//! *Never:* touches rows or cursors; that is a job's work.

use super::handler::{StoreAnswers, scopes, tenant_or_default};
use decisiongraph_engine::Engine;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{
    AdminError, CatchUpRequest, Command, Handle, JobReply, JobRequest, PauseRequest, ResumeRequest, RetryRequest,
    SteerReply, SteeredScope, check_reason,
};
use decisiongraph_store::{Scope, ScopeRow};

// Scopes that are paused already stay as they are.
impl Handle<PauseRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: PauseRequest) -> Result<SteerReply, AdminError> {
        let PauseRequest { tenant, projection, reason } = request;
        check_reason(&reason)?;
        let mut scopes = Vec::new();
        for scope in wanted(tenant, projection.as_deref())? {
            scopes.push(steered(self.store().pause_scope(&scope, &reason, self.by).await?));
        }
        Ok(SteerReply { scopes })
    }
}

// A scope that was never projected has no pause.
impl Handle<ResumeRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ResumeRequest) -> Result<SteerReply, AdminError> {
        let mut scopes = Vec::new();
        for scope in wanted(request.tenant, request.projection.as_deref())? {
            match self.store().resume_scope(&scope).await {
                Ok(row) => scopes.push(steered(row)),
                Err(error) if error.category == Category::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(SteerReply { scopes })
    }
}

// A catch-up in this process.
impl Handle<RetryRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: RetryRequest) -> Result<JobReply, AdminError> {
        let RetryRequest { tenant, projection, reason } = request;
        self.answer(CatchUpRequest(JobRequest { tenant, projection, reason, ..JobRequest::default() })).await
    }
}

/// Checks that none of these scopes is paused. `conflict` otherwise: an operator wanted their events left alone.
pub async fn refuse_paused(engine: &Engine, request: &JobRequest) -> Result<(), AdminError> {
    let view = engine.store().view().await?;
    for scope in wanted(request.tenant.clone(), request.projection.as_deref())? {
        if let Some(paused) = view.scope(&scope).await?.and_then(|row| row.paused) {
            return Err(AdminError::new(
                Category::Conflict,
                format!("{scope} is paused by {}: {}", paused.by, paused.reason),
            )
            .next(format!(
                "{}, or name the others with --projection",
                Command::of_scope("resume", &scope.tenant, scope.projection)
            )));
        }
    }
    Ok(())
}

fn wanted(tenant: Option<TenantId>, projection: Option<&str>) -> Result<Vec<Scope>, AdminError> {
    let tenant = tenant_or_default(tenant);
    Ok(scopes(projection)?.into_iter().map(|projection| Scope::new(&tenant, projection)).collect())
}

fn steered(row: ScopeRow) -> SteeredScope {
    SteeredScope {
        tenant: row.scope.tenant,
        projection: row.scope.projection.to_owned(),
        cursor: row.position.cursor,
        paused: row.paused,
    }
}
