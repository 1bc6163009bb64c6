//! A catch-up job on a node: the live workers do the work. The job checks that they do, and reports how far they are.
//!
//! *Guarantees.* One writer per scope: the job writes no rows, so it cannot collide with the workers. It ends when
//! every scope is at the tenant's last event at or below the target. A scope counts, too, when it stops at a poison
//! event that was checked after the job began. (`until` ends the job, not the workers: they are live.)

use super::JobParts;
use crate::tenants::{CoordinatorMessage, Phase, place_of};
use decisiongraph_engine::claim;
use decisiongraph_engine::drive::{Ended, Job as Drive};
use decisiongraph_engine::report::ScopeReport;
use decisiongraph_engine::{Progress, RunReport};
use decisiongraph_projections::{Category, LogSeq, Projection};
use decisiongraph_protocol::Notice;
use decisiongraph_store::{Failure, ListFilter, Result as StoreResult, Run, Scope, ScopeRow, StoreError};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Pause between two checks of the durable cursors.
const LOOK: Duration = Duration::from_millis(50);
/// Pause between two writes of the run's progress.
const TELL: Duration = Duration::from_millis(250);
/// Events that a report counts, at most.
const EVENTS_MAX: u64 = 10_000_000;

/// Follows the workers to the target.
pub async fn follow(
    parts: &JobParts,
    job: &mut Drive<'_>,
    run: &Run,
    projections: &[&'static dyn Projection],
) -> StoreResult<RunReport> {
    let (store, control) = (&**parts.engine.store(), job.control);
    let started = Instant::now();
    let asked = parts.engine.asked(run, projections).await?;
    let mark = parts.engine.mark().await?.at;
    let view = store.view().await?;
    let upto = run.until.map_or(mark, |until| until.min(mark));
    let goal = view.last_log_seq(&run.tenant, Some(upto)).await?;
    let before = rows(parts, run, projections).await?;
    if let Some((scope, paused)) = before.values().find_map(|row| Some((&row.scope, row.paused.as_ref()?))) {
        return Err(claim::paused(scope, paused));
    }
    let known: HashMap<i64, i64> =
        failures(parts, run).await?.into_iter().map(|failure| (failure.failure_id, failure.attempts)).collect();
    let batches = |place: usize| parts.tenants.cell(&run.tenant).map_or(0, |cell| cell.live(place).batches);
    let batches_before: Vec<u64> = projections.iter().map(|projection| batches(place_of(*projection))).collect();
    if !asked.nothing {
        parts.tenants.wake(&run.tenant, goal);
    }
    // If another node works on the tenant, its workers check their scopes again, also failed scopes.
    parts.links.tell_all(&Notice::Reconsider { tenant: run.tenant.clone() });
    if let Some(cell) = parts.tenants.cell(&run.tenant) {
        let failed = |projection: &&dyn Projection| cell.live(place_of(*projection)).phase == Phase::Failed;
        if projections.iter().any(|projection| failed(&(*projection as &dyn Projection)))
            && let Some(coordinator) = cell.coordinator()
        {
            let _ = coordinator.cast(CoordinatorMessage::Reconsider);
        }
    }
    let mut told: Option<Instant> = None;
    let (ended, now, stopped) = loop {
        let now = rows(parts, run, projections).await?;
        let cursor_of =
            |projection: &dyn Projection| now.get(projection.name()).map_or(LogSeq::ORIGIN, |row| row.position.cursor);
        let open = failures(parts, run).await?;
        let stopped: HashMap<&str, Failure> = projections
            .iter()
            .filter_map(|projection| {
                let failure =
                    open.iter().filter(|failure| failure.projection == projection.name()).find(|failure| {
                        failure.log_seq <= goal
                            && known.get(&failure.failure_id).is_none_or(|attempts| failure.attempts > *attempts)
                    })?;
                Some((projection.name(), failure.clone()))
            })
            .collect();
        let behind: Vec<&dyn Projection> = projections
            .iter()
            .filter(|projection| cursor_of(**projection) < goal && !stopped.contains_key(projection.name()))
            .map(|projection| &**projection as &dyn Projection)
            .collect();
        let Some(slowest) = behind.iter().min_by_key(|projection| cursor_of(**projection)) else {
            break (Ended::Reached, now, stopped);
        };
        stuck(parts, run, goal, &behind)?;
        let cursor = cursor_of(*slowest);
        if let Some(progress) = &control.progress {
            progress.send_replace(Some(Progress {
                mode: run.mode,
                projection: slowest.name().to_owned(),
                cursor,
                target: goal,
                events: job.events,
            }));
        }
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            told = Some(Instant::now());
            if job.tell(slowest.name(), cursor, goal).await? {
                control.cancel.request();
            }
        }
        if control.cancel.is_requested() {
            break (Ended::Cancelled, now, stopped);
        }
        tokio::time::sleep(LOOK).await;
    };
    let mut scopes = Vec::with_capacity(projections.len());
    for (index, projection) in projections.iter().enumerate() {
        let from = before.get(projection.name()).map_or(LogSeq::ORIGIN, |row| row.position.cursor);
        let Some(row) = now.get(projection.name()) else { continue };
        let cursor = row.position.cursor;
        let events = view.count_events(&run.tenant, from, cursor, EVENTS_MAX).await?;
        job.events += events;
        scopes.push(ScopeReport {
            projection: projection.name().to_owned(),
            from,
            cursor,
            target: goal,
            events,
            batches: batches(place_of(*projection)).saturating_sub(batches_before[index]),
            seconds: started.elapsed().as_secs_f64(),
            generation: row.generation,
            digest: row.position.digest.to_text(),
            failure: stopped.get(projection.name()).cloned(),
            rebuild: None,
            flipped_before: false,
            verify: None,
        });
    }
    parts.engine.conclude(run, projections, job, &asked, ended, scopes).await
}

async fn rows(
    parts: &JobParts,
    run: &Run,
    projections: &[&'static dyn Projection],
) -> StoreResult<HashMap<&'static str, ScopeRow>> {
    let view = parts.engine.store().view().await?;
    let mut found = HashMap::new();
    for projection in projections {
        if let Some(row) = view.scope(&Scope::new(&run.tenant, *projection)).await? {
            found.insert(projection.name(), row);
        }
    }
    Ok(found)
}

async fn failures(parts: &JobParts, run: &Run) -> StoreResult<Vec<Failure>> {
    let filter = ListFilter { tenant: Some(run.tenant.clone()), open_only: true, limit: 100, ..ListFilter::default() };
    Ok(parts.engine.store().view().await?.failures(&filter).await?.items)
}

/// Fails when a worker is paused, or failed without a poison event (rules of another version, corruption). It does not
/// move by itself.
fn stuck(parts: &JobParts, run: &Run, goal: LogSeq, behind: &[&dyn Projection]) -> StoreResult<()> {
    let Some(cell) = parts.tenants.cell(&run.tenant) else {
        // Passivated, or waiting for room: it is woken again.
        parts.tenants.wake(&run.tenant, goal);
        return Ok(());
    };
    for projection in behind {
        let live = cell.live(place_of(*projection));
        match (live.phase, live.fault) {
            (Phase::Failed, Some(fault)) if !fault.poison => {
                return Err(StoreError::new(fault.category, fault.message));
            }
            (Phase::Paused, _) => {
                return Err(StoreError::new(
                    Category::Conflict,
                    format!("{} was paused in the meantime", Scope::new(&run.tenant, *projection)),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
