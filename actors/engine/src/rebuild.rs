//! Rebuild: a new generation from the log's origin, beside the live one, then an atomic flip.
//!
//! ```text
//!   begin / resume ──▶ drive to the mark ──▶ finish (indexes) ──▶ drive the tail ──▶ flip ──▶ sweep
//!                                                                   ▲        │ behind
//!                                                                   └────────┘
//! ```
//!
//! The live generation serves and may be caught up all the while. Cancel, crash or failure leaves it untouched. After a
//! crash the build goes on from its own position, and flips that were made stay. The digest is compared with the live
//! one at the same position. Equal digests say that the log gives what was stored. (They say nothing of rows that were
//! edited without updating the digest; only a verify does.)

use super::drive::{Ended, Job};
use super::lane::{Lane, Target};
use super::mark::Mark;
use super::report::{RebuildFacts, ScopeReport};
use decisiongraph_projections::{LogSeq, Projection};
use decisiongraph_store::{BuildLease, Flip, Position, ReadView, Result, Scope, ScopeRow, Storage, StoreError};
use futures_util::future::try_join_all;

/// Number of times that a flip may find the live generation ahead before the job gives up.
const FLIPS_MAX: usize = 100;

/// Rebuilds these projections, except those that this run had flipped already before it was interrupted. `mark`
/// re-reads the safe mark.
pub async fn rebuild<M>(
    job: &mut Job<'_>,
    projections: &[&'static dyn Projection],
    resume: bool,
    mark: impl Fn() -> M,
) -> Result<(Ended, Vec<ScopeReport>)>
where
    M: Future<Output = Result<Mark>>,
{
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for projection in projections {
        match if resume { flipped_before(job, *projection).await? } else { None } {
            Some(report) => done.push(report),
            None => left.push(*projection),
        }
    }
    if left.is_empty() {
        return Ok((Ended::Reached, done));
    }
    let (ended, reports) = build(job, &left, resume, mark).await?;
    done.extend(reports);
    let place = |report: &ScopeReport| projections.iter().position(|it| it.name() == report.projection);
    done.sort_by_key(place);
    Ok((ended, done))
}

/// Builds the report of a projection that this run had flipped before; `None` when it had not.
async fn flipped_before(job: &Job<'_>, projection: &'static dyn Projection) -> Result<Option<ScopeReport>> {
    let (scope, view) = (Scope::new(&job.tenant, projection), job.store().view().await?);
    if !view.flipped_by(&scope, job.run_id).await? {
        return Ok(None);
    }
    // Rows of another version of the rules are to be replaced.
    let live = view.scope(&scope).await?.filter(|live| live.position.version == projection.version());
    Ok(live.map(|live| ScopeReport {
        projection: projection.name().to_owned(),
        from: live.position.cursor,
        cursor: live.position.cursor,
        target: live.position.cursor,
        events: 0,
        batches: 0,
        seconds: 0.0,
        generation: live.generation,
        digest: live.position.digest.to_text(),
        failure: None,
        rebuild: None,
        flipped_before: true,
        verify: None,
    }))
}

async fn build<M>(
    job: &mut Job<'_>,
    projections: &[&'static dyn Projection],
    resume: bool,
    mark: impl Fn() -> M,
) -> Result<(Ended, Vec<ScopeReport>)>
where
    M: Future<Output = Result<Mark>>,
{
    let log = job.store().view().await?;
    let scopes: Vec<Scope> = projections.iter().map(|projection| Scope::new(&job.tenant, *projection)).collect();
    let live = try_join_all(scopes.iter().map(|scope| log.scope(scope))).await?;
    // A scope that was never projected is at the origin; the build makes it.
    let cursor_of = |row: &Option<ScopeRow>| row.as_ref().map_or(LogSeq::ORIGIN, |row| row.position.cursor);
    let live: Vec<LogSeq> = live.iter().map(cursor_of).collect();
    // While an appender holds up the mark, the live cursor may be above it. The flip reports such a cursor, under the
    // build's own history.
    let safe = mark().await?;
    let target = safe.at;
    let bound = job.engine.config().own_partition_events;
    let events = log.count_events(&job.tenant, LogSeq::ORIGIN, target, bound).await?;
    let storage = if events >= bound { Storage::Own } else { Storage::Shared };
    // At the same time: each begins tables of its own.
    let begun =
        projections.iter().zip(&scopes).map(|(projection, scope)| start(job, *projection, scope, storage, resume));
    let begun = try_join_all(begun).await?;
    let mut lanes = Vec::with_capacity(begun.len());
    for ((projection, (lease, position)), live_cursor) in projections.iter().zip(begun).zip(live) {
        let mut lane = job.lane(*projection, Target::Build(lease), position);
        lane.watch(live_cursor);
        lanes.push(lane);
    }
    let built = fill_and_flip(job, &mut lanes, &*log, &safe, mark).await;
    built.map_err(|error| job.lost(lanes, error))
}

/// Fills the generations up to the mark, and flips one after the other.
async fn fill_and_flip<M>(
    job: &mut Job<'_>,
    lanes: &mut [Lane],
    log: &dyn ReadView,
    safe: &Mark,
    mark: impl Fn() -> M,
) -> Result<(Ended, Vec<ScopeReport>)>
where
    M: Future<Output = Result<Mark>>,
{
    let target = safe.at;
    try_join_all(lanes.iter_mut().map(|lane| lane.skipping(log))).await?;
    let mut reports = Vec::with_capacity(lanes.len());
    if job.drive(lanes, job.store(), log, safe).await? == Ended::Cancelled {
        return Ok((Ended::Cancelled, lanes.iter().map(|lane| report(lane, target, None)).collect()));
    }
    let finished = lanes.iter().filter(|lane| lane.failure.is_none()).map(|lane| async {
        match &lane.target {
            Target::Build(lease) => job.store().finish_build(lease).await,
            Target::Live(_) => Ok(()),
        }
    });
    try_join_all(finished).await?;
    let tail = mark().await?;
    for index in 0..lanes.len() {
        let lane = &mut lanes[index..=index];
        if lane[0].failure.is_some() {
            reports.push(report(&lane[0], target, None));
            continue;
        }
        let Some(facts) = flip(job, lane, log, &tail).await? else {
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
    log: &dyn ReadView,
    tail: &Mark,
) -> Result<Option<Option<RebuildFacts>>> {
    let mut target = tail.clone();
    for _ in 0..FLIPS_MAX {
        if let Some(live) = job.store().view().await?.scope(&lane[0].scope).await?
            && live.position.cursor >= lane[0].position.cursor
        {
            lane[0].watch(live.position.cursor);
        }
        if job.drive(lane, job.store(), log, &target).await? == Ended::Cancelled {
            return Ok(None);
        }
        if lane[0].failure.is_some() {
            return Ok(Some(None));
        }
        job.engine.validity().check()?;
        let Target::Build(lease) = &lane[0].target else {
            return Err(StoreError::internal("a rebuild writes to a build"));
        };
        match job.store().flip(lease).await? {
            // A durable cursor was once at or below a mark, and still is.
            Flip::Behind { live_cursor } => target.at = target.at.max(live_cursor),
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

async fn start(
    job: &Job<'_>,
    projection: &'static dyn Projection,
    scope: &Scope,
    storage: Storage,
    resume: bool,
) -> Result<(BuildLease, Position)> {
    if resume && let Some((lease, position)) = job.store().resume_build(scope, job.run_id).await? {
        if position.version == projection.version() {
            return Ok((lease, position));
        }
        // Begun by another version of the rules: its rows are useless.
        job.store().abandon_build(scope, job.run_id).await?;
    }
    let lease = job.store().begin_build(scope, job.run_id, storage).await?;
    let position = Position { cursor: LogSeq::ORIGIN, digest: Default::default(), version: projection.version() };
    Ok((lease, position))
}

fn report(lane: &Lane, target: LogSeq, rebuild: Option<RebuildFacts>) -> ScopeReport {
    ScopeReport { rebuild, ..super::report::scope_report(lane, target) }
}
