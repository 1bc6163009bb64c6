//! Jobs, and the scopes that they claim.

use super::PostgresStore;
use super::ask::{Ask, Parameter, Session, Work};
use super::errors::explain;
use super::values::Key;
use super::view::View;
use crate::columns::Stored as _;
use crate::decide::{self, Holder, Locked};
use crate::sections::{ReadRuns, Runs};
use crate::{
    Compared, Creation, LIST_BYTES_MAX, ListFilter, NewRun, Owner, PageLimit, Paged, Result, Run, RunCause, RunOutcome,
    RunProgress, StoreError,
};
use async_trait::async_trait;
use decisiongraph_projections::{Category, TenantId};
use uuid::Uuid;

const SQL: &str = include_str!("sql/run.sql");

#[async_trait]
impl Runs for PostgresStore {
    async fn create_run(&self, new: &NewRun) -> Result<Creation> {
        let mut ask = self.ask("start a job").await?;
        if let Some(stored) = one(&ask, new.run_id).await? {
            return new.repeated(stored);
        }
        let inserted = insert(ask.begin().await?, new).await;
        match inserted {
            Ok(()) => Ok(Creation::Created(found(&ask, new.run_id).await?)),
            // The same request was sent twice at once, and the other one was faster.
            Err(error) => match one(&ask, new.run_id).await {
                Ok(Some(stored)) if error.category == Category::Conflict => new.repeated(stored),
                _ => Err(error),
            },
        }
    }

    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> Result<Run> {
        let mut ask = self.ask("take over a job").await?;
        let work = ask.begin().await?;
        let locked = lock(&work, run_id).await?;
        decide::adoption(&locked, owner)?;
        claim(&work, locked.run.tenant.as_str(), &locked.run.projections(), run_id).await?;
        work.run(sql!(SQL, "adopt"), &[&Key::from(run_id), &owner.node, &Key::from(owner.incarnation)]).await?;
        work.commit(explain).await?;
        found(&ask, run_id).await
    }

    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run> {
        let ask = self.ask("write the progress of a job").await?;
        let RunProgress { current, cursor, target, events } = progress;
        let (run, incarnation) = (Key::from(run_id), Key::from(owner.incarnation));
        let of: [Parameter<'_>; 7] = [&run, &owner.node, &incarnation, current, &cursor.0, &target.0, events];
        let changed = ask.run(sql!(SQL, "advance"), &of).await?;
        decide::still_mine(found(&ask, run_id).await?, changed == 1)
    }

    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run> {
        let (state, report, error) = decide::ended(&outcome);
        let (category, message) = (error.map(|error| error.category.as_str()), error.map(|error| &error.message));
        let mut ask = self.ask("end a job").await?;
        let work = ask.begin().await?;
        let (run, incarnation) = (Key::from(run_id), Key::from(owner.incarnation));
        let of: [Parameter<'_>; 7] = [&run, &owner.node, &incarnation, &state.as_str(), &report, &category, &message];
        let changed = work.run(sql!(SQL, "finish"), &of).await?;
        if changed == 1 {
            unclaim(&work, run_id).await?;
        }
        work.commit(explain).await?;
        decide::still_mine(found(&ask, run_id).await?, changed == 1)
    }

    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()> {
        let ask = self.ask("note what a verify found").await?;
        let projections: Vec<&str> = compared.iter().map(|scope| scope.projection).collect();
        let generations: Vec<i64> = compared.iter().map(|scope| scope.generation.0).collect();
        let drifted: Vec<bool> = compared.iter().map(|scope| scope.drifted).collect();
        let (run, incarnation) = (Key::from(run_id), Key::from(owner.incarnation));
        let of: [Parameter<'_>; 6] = [&run, &owner.node, &incarnation, &projections, &generations, &drifted];
        ask.run(sql!(SQL, "note_compared"), &of).await.map(|_| ())
    }

    async fn request_cancel(&self, run_id: Uuid) -> Result<Run> {
        let mut ask = self.ask("cancel a job").await?;
        let work = ask.begin().await?;
        let now = decide::cancellation(&lock(&work, run_id).await?.run)?;
        work.run(sql!(SQL, "cancel"), &[&Key::from(run_id), &now]).await?;
        if now {
            unclaim(&work, run_id).await?;
        }
        work.commit(explain).await?;
        found(&ask, run_id).await
    }
}

#[async_trait]
impl ReadRuns for View {
    async fn runs(&self, filter: &ListFilter) -> Result<Paged<Run>> {
        let ask = self.ask("list jobs").await?;
        let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
        let (tenant, before) = (filter.tenant.as_ref().map(TenantId::as_str), filter.before_run.map(Key::from));
        let of: [Parameter<'_>; 5] = [&tenant, &filter.projection, &filter.open_only, &limit.one_more(), &before];
        // A job that cannot be read, perhaps a newer program's, fails no list.
        ask.paged(sql!(SQL, "list"), &of, limit, |row| Ok(Run::read(row).ok())).await
    }

    async fn run(&self, run_id: Uuid) -> Result<Option<Run>> {
        one(&self.ask("read a job").await?, run_id).await
    }
}

async fn one<S: Session>(ask: &Ask<'_, S>, run_id: Uuid) -> Result<Option<Run>> {
    ask.first(sql!(SQL, "one"), &[&Key::from(run_id)]).await
}

async fn found<S: Session>(ask: &Ask<'_, S>, run_id: Uuid) -> Result<Run> {
    one(ask, run_id).await?.ok_or_else(|| decide::no_run(run_id))
}

async fn lock(work: &Work<'_>, run_id: Uuid) -> Result<Locked> {
    work.first(sql!(SQL, "lock"), &[&Key::from(run_id)]).await?.ok_or_else(|| decide::no_run(run_id))
}

async fn insert(work: Work<'_>, new: &NewRun) -> Result<()> {
    claim(&work, new.tenant.as_str(), &new.projections, new.run_id).await?;
    let (run, tenant, until) = (Key::from(new.run_id), new.tenant.as_str(), new.until.map(|until| until.0));
    let (mode, incarnation) = (new.mode.as_str(), Key::from(new.owner.incarnation));
    let RunCause { reason, requested_by, metadata } = &new.cause;
    let (projection, node) = (new.projection(), &new.owner.node);
    let of: [Parameter<'_>; 11] = [
        &run,
        &tenant,
        &projection,
        &new.projections,
        &mode,
        node,
        &incarnation,
        &until,
        reason,
        requested_by,
        metadata,
    ];
    work.run(sql!(SQL, "create"), &of).await.map_err(as_conflict)?;
    work.commit(explain).await
}

/// Claims the scopes for this job: `conflict` when a live job holds any of them. Jobs of nodes that are gone are marked
/// failed.
async fn claim(work: &Work<'_>, tenant: &str, projections: &[&str], run_id: Uuid) -> Result<()> {
    let of: [Parameter<'_>; 3] = [&tenant, &projections, &Key::from(run_id)];
    for holder in work.all::<Holder>(sql!(SQL, "claim_holders"), &of).await? {
        holder.gives_way(tenant)?;
        work.run(sql!(SQL, "orphan"), &[&Key::from(holder.run_id)]).await?;
        unclaim(work, holder.run_id).await?;
    }
    work.run(sql!(SQL, "claim"), &of).await.map_err(as_conflict).map(|_| ())
}

async fn unclaim(work: &Work<'_>, run_id: Uuid) -> Result<()> {
    work.run(sql!(SQL, "unclaim"), &[&Key::from(run_id)]).await.map(|_| ())
}

/// Turns a duplicate into `conflict`: two jobs started at the same time, or the same id twice.
fn as_conflict(error: StoreError) -> StoreError {
    match error.duplicate {
        true => decide::conflict("another job took one of these scopes at the same time, or the job exists already"),
        false => error,
    }
}
