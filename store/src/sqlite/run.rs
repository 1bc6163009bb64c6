//! Jobs, and the scopes that they claim.

use super::SqliteStore;
use super::ask::Ask as _;
use super::errors::Result;
use super::view::View;
use crate::columns::Stored as _;
use crate::decide::{self, Holder, Locked};
use crate::sections::{ReadRuns, Runs};
use crate::{
    Compared, Creation, LIST_BYTES_MAX, ListFilter, NewRun, Owner, PageLimit, Paged, Run, RunCause, RunOutcome,
    RunProgress,
};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::event::tags_to_json;
use rusqlite::{Connection, params};
use uuid::Uuid;

const SQL: &str = include_str!("sql/run.sql");

#[async_trait]
impl Runs for SqliteStore {
    async fn create_run(&self, new: &NewRun) -> crate::Result<Creation> {
        let new = new.clone();
        self.write(move |conn| {
            if let Some(stored) = one(conn, new.run_id)? {
                return Ok(new.repeated(stored)?);
            }
            claim(conn, &new.tenant, &new.projections, new.run_id)?;
            let NewRun { run_id, tenant, mode, until, owner, cause, .. } = &new;
            let RunCause { reason, requested_by, metadata } = cause;
            let (tenant, projection, mode, until) =
                (tenant.as_str(), new.projection(), mode.as_str(), until.map(|at| at.0));
            let Owner { node, incarnation } = owner;
            let of =
                params![run_id, tenant, projection, mode, node, incarnation, until, reason, requested_by, metadata];
            conn.run(sql!(SQL, "create"), of)?;
            Ok(Creation::Created(found(conn, new.run_id)?))
        })
        .await
    }

    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> crate::Result<Run> {
        let owner = owner.clone();
        self.write(move |conn| {
            let locked = lock(conn, run_id)?;
            decide::adoption(&locked, &owner)?;
            claim(conn, &locked.run.tenant, &locked.run.projections(), run_id)?;
            conn.run(sql!(SQL, "adopt"), params![run_id, owner.node, owner.incarnation])?;
            found(conn, run_id)
        })
        .await
    }

    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> crate::Result<Run> {
        let (owner, progress) = (owner.clone(), progress.clone());
        self.write(move |conn| {
            let RunProgress { current, cursor, target, events } = &progress;
            let of = params![run_id, owner.node, owner.incarnation, current, cursor.0, target.0, events];
            let changed = conn.run(sql!(SQL, "advance"), of)?;
            Ok(decide::still_mine(found(conn, run_id)?, changed == 1)?)
        })
        .await
    }

    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> crate::Result<Run> {
        let owner = owner.clone();
        self.write(move |conn| {
            let (state, report, error) = decide::ended(&outcome);
            let (category, message) = (error.map(|error| error.category.as_str()), error.map(|error| &error.message));
            let of = params![run_id, owner.node, owner.incarnation, state.as_str(), report, category, message];
            let changed = conn.run(sql!(SQL, "finish"), of)?;
            if changed == 1 {
                conn.run(sql!(SQL, "unclaim"), [run_id])?;
            }
            Ok(decide::still_mine(found(conn, run_id)?, changed == 1)?)
        })
        .await
    }

    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> crate::Result<()> {
        let (owner, compared) = (owner.clone(), compared.to_vec());
        self.write(move |conn| {
            for Compared { projection, generation, drifted } in &compared {
                let of = params![run_id, owner.node, owner.incarnation, projection, generation.0, drifted];
                conn.run(sql!(SQL, "note_compared"), of)?;
            }
            Ok(())
        })
        .await
    }

    async fn request_cancel(&self, run_id: Uuid) -> crate::Result<Run> {
        self.write(move |conn| {
            let now = decide::cancellation(&lock(conn, run_id)?.run)?;
            conn.run(sql!(SQL, "cancel"), params![run_id, now])?;
            if now {
                conn.run(sql!(SQL, "unclaim"), [run_id])?;
            }
            found(conn, run_id)
        })
        .await
    }
}

#[async_trait]
impl ReadRuns for View {
    async fn runs(&self, filter: &ListFilter) -> crate::Result<Paged<Run>> {
        let filter = filter.clone();
        self.read(move |conn| {
            let ListFilter { tenant, projection, open_only, before_run, .. } = &filter;
            let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let of = params![tenant, projection, open_only, limit.one_more(), before_run];
            // A job that cannot be read, perhaps a newer program's, fails no list.
            conn.paged(sql!(SQL, "list"), of, limit, |row| Ok(Run::read(row).ok()))
        })
        .await
    }

    async fn run(&self, run_id: Uuid) -> crate::Result<Option<Run>> {
        self.read(move |conn| one(conn, run_id)).await
    }
}

fn one(conn: &Connection, run_id: Uuid) -> Result<Option<Run>> {
    conn.first(sql!(SQL, "one"), [run_id])
}

fn found(conn: &Connection, run_id: Uuid) -> Result<Run> {
    Ok(one(conn, run_id)?.ok_or_else(|| decide::no_run(run_id))?)
}

fn lock(conn: &Connection, run_id: Uuid) -> Result<Locked> {
    Ok(conn.first(sql!(SQL, "lock"), [run_id])?.ok_or_else(|| decide::no_run(run_id))?)
}

/// Claims the scopes for this job: `conflict` when a live job holds any of them. Jobs of processes that are gone are
/// marked failed.
fn claim(conn: &Connection, tenant: &TenantId, projections: &[&str], run_id: Uuid) -> Result<()> {
    let mut list = String::new();
    tags_to_json(&mut list, projections);
    let of = params![tenant.as_str(), list, run_id];
    for holder in conn.all::<Holder>(sql!(SQL, "claim_holders"), of)? {
        holder.gives_way(tenant.as_str())?;
        conn.run(sql!(SQL, "orphan"), [holder.run_id])?;
        conn.run(sql!(SQL, "unclaim"), [holder.run_id])?;
    }
    conn.run(sql!(SQL, "claim"), of)?;
    Ok(())
}
