//! Rebuild: a new generation from the log's origin, beside the live one, then an atomic flip.
//!
//! ```text
//!   begin / resume ──▶ drive to the mark ──▶ finish (indexes) ──▶ drive the tail ──▶ flip ──▶ sweep
//!                                                                   ▲        │ behind
//!                                                                   └────────┘
//! ```
//!
//! The live generation serves and may be caught up all the while. Cancel, crash or failure leaves it untouched; after a crash the
//! build goes on from its own position. The digest is compared with the live one at the same position: equal digests say
//! that the log gives what was stored. (They say nothing of rows that were edited behind the digest's back; only a verify does.)

use super::drive::{Ended, Job};
use super::lane::{Lane, Target};
use super::report::{RebuildFacts, ScopeReport};
use decisiongraph_projections::{LogSeq, Projection};
use decisiongraph_store::{Acquisition, BuildLease, Flip, Position, Result, Scope, Storage, StoreError};
use futures_util::future::try_join_all;

/// How often a flip may find the live generation ahead before the job gives up.
const FLIPS_MAX: usize = 100;

/// Rebuilds these projections. `mark` re-reads the safe mark.
pub async fn rebuild<M>(
    job: &mut Job<'_>,
    projections: &[&'static dyn Projection],
    resume: bool,
    mark: impl Fn() -> M,
) -> Result<(Ended, Vec<ScopeReport>)>
where
    M: Future<Output = Result<LogSeq>>,
{
    let mut target = mark().await?;
    let log = job.store.view().await?;
    let mut lanes = Vec::with_capacity(projections.len());
    for projection in projections {
        let scope = Scope::new(&job.tenant, *projection);
        let live_cursor = ensure_scope(job, &scope).await?;
        target = target.max(live_cursor);
        let (lease, position) = start(job, *projection, &scope, target, resume).await?;
        let mut lane = Lane::new(*projection, &job.tenant, Target::Build(lease), position);
        lane.skipping(&*log).await?;
        lane.watch(live_cursor);
        lanes.push(lane);
    }
    let mut reports = Vec::with_capacity(lanes.len());
    if job.drive(&mut lanes, job.store, &*log, target).await? == Ended::Cancelled {
        return Ok((Ended::Cancelled, lanes.iter().map(|lane| report(lane, target, None)).collect()));
    }
    let finished = lanes.iter().filter(|lane| lane.failure.is_none()).map(|lane| async {
        match &lane.target {
            Target::Build(lease) => job.store.finish_build(lease).await,
            Target::Live(_) => Ok(()),
        }
    });
    // At the same time: each indexes tables of its own.
    try_join_all(finished).await?;
    for index in 0..lanes.len() {
        let lane = &mut lanes[index..=index];
        if lane[0].failure.is_some() {
            reports.push(report(&lane[0], target, None));
            continue;
        }
        let Some(facts) = flip(job, lane, &*log, target.max(mark().await?)).await? else {
            reports.extend(lanes[index..].iter().map(|lane| report(lane, target, None)));
            return Ok((Ended::Cancelled, reports));
        };
        reports.push(report(&lane[0], target, facts));
    }
    Ok((Ended::Reached, reports))
}

/// Follows the tail and flips. `None`: cancelled. `Some(None)`: the tail holds a poison event.
async fn flip(
    job: &mut Job<'_>,
    lane: &mut [Lane],
    log: &dyn decisiongraph_store::ReadView,
    mut target: LogSeq,
) -> Result<Option<Option<RebuildFacts>>> {
    for _ in 0..FLIPS_MAX {
        if let Some(live) = job.store.view().await?.scope(&lane[0].scope).await?
            && live.position.cursor >= lane[0].position.cursor
        {
            target = target.max(live.position.cursor);
            lane[0].watch(live.position.cursor);
        }
        if job.drive(lane, job.store, log, target).await? == Ended::Cancelled {
            return Ok(None);
        }
        if lane[0].failure.is_some() {
            return Ok(Some(None));
        }
        job.trust.check()?;
        let Target::Build(lease) = &lane[0].target else {
            return Err(StoreError::internal("a rebuild writes to a build"));
        };
        match job.store.flip(lease).await? {
            Flip::Behind { live_cursor } => target = target.max(live_cursor),
            Flip::Flipped { old_generation, old } => {
                let there = match &lane[0].landmark {
                    Some((at, Some(digest))) if *at == old.cursor => Some(digest.to_text()),
                    _ if lane[0].position.cursor == old.cursor => Some(lane[0].position.digest.to_text()),
                    _ => None,
                };
                let old_digest = old.digest.to_text();
                return Ok(Some(Some(RebuildFacts {
                    old_generation,
                    old_cursor: old.cursor,
                    equal: there.as_ref().map(|there| *there == old_digest),
                    new_digest_there: there,
                    old_digest,
                })));
            }
        }
    }
    Err(StoreError::transient(
        decisiongraph_projections::Category::Unavailable,
        format!("{}: the live generation stayed ahead; resume the run when fewer events arrive", lane[0].scope),
    ))
}

/// The live cursor; creates the scope when it was never projected.
async fn ensure_scope(job: &Job<'_>, scope: &Scope) -> Result<LogSeq> {
    if let Some(row) = job.store.view().await?.scope(scope).await? {
        return Ok(row.position.cursor);
    }
    match job.store.acquire_scope(scope, job.owner).await? {
        Acquisition::Acquired(lease, position) => {
            job.store.release_scope(&lease).await?;
            Ok(position.cursor)
        }
        // Somebody else has just created it.
        Acquisition::Held { .. } => Ok(LogSeq::ORIGIN),
    }
}

async fn start(
    job: &Job<'_>,
    projection: &'static dyn Projection,
    scope: &Scope,
    target: LogSeq,
    resume: bool,
) -> Result<(BuildLease, Position)> {
    if resume && let Some((lease, position)) = job.store.resume_build(scope, job.run_id).await? {
        if position.version == projection.version() {
            return Ok((lease, position));
        }
        // Begun by other rules: its rows are of no use.
        job.store.abandon_build(scope, job.run_id).await?;
    }
    let bound = job.config.own_partition_events;
    let events = job.store.view().await?.count_events(&scope.tenant, LogSeq::ORIGIN, target, bound).await?;
    let storage = if events >= bound { Storage::Own } else { Storage::Shared };
    let lease = job.store.begin_build(scope, job.run_id, storage).await?;
    let position = Position { cursor: LogSeq::ORIGIN, digest: Default::default(), version: projection.version() };
    Ok((lease, position))
}

fn report(lane: &Lane, target: LogSeq, rebuild: Option<RebuildFacts>) -> ScopeReport {
    ScopeReport { rebuild, ..super::report::scope_report(lane, target) }
}
