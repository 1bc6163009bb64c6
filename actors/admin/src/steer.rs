//! Operators' changes to a scope: pause, resume, retry, and the skip of a poison event. All are durable and safe to
//! repeat.
//!
//! *Never:* touches rows or cursors; that is a job's work.

use super::handler::{projections, tenant_or_default};
use super::jobs;
use decisiongraph_engine::report::RunReport;
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::{Category, catalogue};
use decisiongraph_protocol::{AdminError, Command, JobRequest, ScopeFilter, SteerReply, SteeredScope, check_reason};
use decisiongraph_store::{Failure, Scope, ScopeRow, Skip, Store};

/// Pauses these scopes; scopes that are paused already stay as they are.
pub async fn pause(engine: &Engine, filter: ScopeFilter, reason: &str, by: &str) -> Result<SteerReply, AdminError> {
    check_reason(reason)?;
    let mut scopes = Vec::new();
    for scope in wanted(&filter)? {
        scopes.push(steered(engine.store().pause_scope(&scope, reason, by).await?));
    }
    Ok(SteerReply { scopes })
}

/// Ends the pause of these scopes. A scope that was never projected has no pause.
pub async fn resume(engine: &Engine, filter: ScopeFilter) -> Result<SteerReply, AdminError> {
    let mut scopes = Vec::new();
    for scope in wanted(&filter)? {
        match engine.store().resume_scope(&scope).await {
            Ok(row) => scopes.push(steered(row)),
            Err(error) if error.category == Category::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(SteerReply { scopes })
}

/// Tries these scopes again, now: a catch-up in this process.
pub async fn retry(engine: &Engine, filter: ScopeFilter, control: &Control) -> Result<RunReport, AdminError> {
    let ScopeFilter { tenant, projection } = filter;
    jobs::catch_up(engine, JobRequest { tenant, projection, ..JobRequest::default() }, control).await
}

/// Skips the event of a failure, or revokes its skip.
pub async fn skip(engine: &Engine, failure_id: i64, reason: &str, revoke: bool, by: &str) -> Result<Skip, AdminError> {
    let advise = |error: decisiongraph_store::StoreError| match error.category {
        Category::NotFound | Category::Conflict => {
            AdminError::from(error).next("`decisiongraph failures --all` lists them; only an open one can be skipped")
        }
        _ => error.into(),
    };
    if !revoke {
        check_reason(reason)?;
        return engine.store().skip_event(failure_id, reason, by).await.map_err(advise);
    }
    let failure = engine.store().view().await?.failure(failure_id).await?;
    let failure = failure.ok_or_else(|| super::handler::no_failure(failure_id))?;
    let projection = catalogue::find(&failure.projection).ok_or_else(|| {
        AdminError::new(Category::VersionMismatch, format!("this program has no projection {}", failure.projection))
    })?;
    Ok(engine.store().revoke_skip(&Scope::new(&failure.tenant, projection), failure.log_seq).await?)
}

/// Finds the skip in force for the event of a failure.
pub async fn skip_of(store: &dyn Store, failure: &Failure) -> Result<Option<Skip>, AdminError> {
    let Some(projection) = catalogue::find(&failure.projection) else { return Ok(None) };
    let skips = store.view().await?.skips(&Scope::new(&failure.tenant, projection)).await?;
    Ok(skips.into_iter().find(|skip| skip.log_seq == failure.log_seq))
}

/// Checks that none of these scopes is paused. `conflict` otherwise: an operator wanted their events left alone.
pub async fn refuse_paused(engine: &Engine, request: &JobRequest) -> Result<(), AdminError> {
    let filter = ScopeFilter { tenant: request.tenant.clone(), projection: request.projection.clone() };
    let view = engine.store().view().await?;
    for scope in wanted(&filter)? {
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

fn wanted(filter: &ScopeFilter) -> Result<Vec<Scope>, AdminError> {
    let tenant = tenant_or_default(filter.tenant.clone());
    let projections = projections(filter.projection.as_deref())?;
    Ok(projections.into_iter().map(|projection| Scope::new(&tenant, projection)).collect())
}

fn steered(row: ScopeRow) -> SteeredScope {
    SteeredScope {
        tenant: row.scope.tenant,
        projection: row.scope.projection.to_owned(),
        cursor: row.position.cursor,
        paused: row.paused,
    }
}
