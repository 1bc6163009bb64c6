//! Jobs: a request becomes a run of the engine. Also the check of a rebuild, without starting one.

use super::estimate::{self, Size};
use super::handler::{no_run, projections, tenant_or_default};
use super::steer;
use decisiongraph_engine::report::{Progress, RunReport, RunRequest, recorded};
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::{
    AdminError, JobRequest, RebuildCheckReply, RebuildEstimate, WATCH_MS_MAX, WatchReply, has_ended,
};
use decisiongraph_store::{ListFilter, ReadView, Run, RunMode, RunState, Scope, Store};
use std::time::Duration;
use uuid::Uuid;

/// Bound of the event count in a check.
const EVENTS_BOUND: u64 = 10_000_000;
/// Source events per second in a rebuild of one projection, when no earlier run is known. A cautious figure.
const RATE_EVENTS_PER_SECOND: f64 = 30_000.0;
/// Earlier runs that are read for a rate.
const RUNS_LOOKED_AT: usize = 50;
/// Fewest events of an earlier rebuild for a usable rate.
const RATE_EVENTS_MIN: u64 = 1_000;

/// Applies new events.
pub async fn catch_up(engine: &Engine, request: JobRequest, control: &Control) -> Result<RunReport, AdminError> {
    run(engine, request, RunMode::CatchUp, control).await
}

/// Builds new generations and flips to them.
pub async fn rebuild(engine: &Engine, request: JobRequest, control: &Control) -> Result<RunReport, AdminError> {
    run(engine, request, RunMode::Rebuild, control).await
}

/// Compares the stored digest, the rows and the log.
pub async fn verify(engine: &Engine, request: JobRequest, control: &Control) -> Result<RunReport, AdminError> {
    run(engine, request, RunMode::Verify, control).await
}

async fn run(engine: &Engine, request: JobRequest, mode: RunMode, control: &Control) -> Result<RunReport, AdminError> {
    if request.until.is_some() && mode != RunMode::CatchUp {
        return Err(AdminError::new(Category::InvalidArgument, "only a catch-up can stop at a position"));
    }
    if request.detach {
        return Err(AdminError::new(Category::InvalidArgument, "only a node can go on with a job by itself")
            .next("leave --detach away, or ask a node (--node ADDR)"));
    }
    if let Some(run_id) = request.run_id
        && let Some(known) = engine.store().view().await?.run(run_id).await?
    {
        return again(engine, known, control).await;
    }
    if mode == RunMode::CatchUp {
        steer::refuse_paused(engine, &request).await?;
    }
    let run_id = request.run_id.unwrap_or_else(Uuid::now_v7);
    engine.run_as(run_id, &run_request(request, mode)?, control).await.map_err(advise)
}

/// Makes the engine's request for a job.
pub fn run_request(request: JobRequest, mode: RunMode) -> Result<RunRequest, AdminError> {
    if request.until.is_some_and(|until| until.0 < 0) {
        return Err(AdminError::new(Category::InvalidArgument, "a log position is 0 or more"));
    }
    Ok(RunRequest {
        tenant: tenant_or_default(request.tenant),
        projections: projections(request.projection.as_deref())?,
        mode,
        until: request.until,
    })
}

/// Answers a job that was asked for before under the same id: reports its end, or goes on with it.
async fn again(engine: &Engine, known: Run, control: &Control) -> Result<RunReport, AdminError> {
    if has_ended(known.state) {
        return Ok(RunReport::stored(known));
    }
    engine.resume(known.run_id, control).await.map_err(advise)
}

/// Reads the state of a job from its row: at once when it has ended, else after `wait_ms`. The wait is at most
/// [`WATCH_MS_MAX`].
pub async fn watch_run(store: &dyn Store, run_id: Uuid, wait_ms: u64) -> Result<WatchReply, AdminError> {
    let find = async || store.view().await?.run(run_id).await?.ok_or_else(|| no_run(run_id));
    let mut run = find().await?;
    if !has_ended(run.state) && wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms.min(WATCH_MS_MAX))).await;
        run = find().await?;
    }
    let report = has_ended(run.state).then(|| RunReport::stored(run.clone()));
    Ok(WatchReply { progress: progress(&run), run, report })
}

/// Returns the progress of a running job, as its process writes it to the row from time to time.
fn progress(run: &Run) -> Option<Progress> {
    let projection = run.current.clone().filter(|_| run.state == RunState::Running)?;
    Some(Progress {
        mode: run.mode,
        projection,
        cursor: run.cursor,
        target: run.target,
        events: run.events.max(0) as u64,
    })
}

/// Goes on with a job under its old id.
pub async fn resume(engine: &Engine, run_id: Uuid, control: &Control) -> Result<RunReport, AdminError> {
    engine.resume(run_id, control).await.map_err(advise).map_err(|error| unknown_run(error, run_id))
}

/// Replaces a `not_found` by an error that tells where runs are listed.
pub fn unknown_run(error: AdminError, run_id: Uuid) -> AdminError {
    if error.category == Category::NotFound { no_run(run_id) } else { error }
}

/// Adds the next step to the error of a job.
pub fn advise(error: decisiongraph_store::StoreError) -> AdminError {
    let conflict = error.category == Category::Conflict;
    let error = AdminError::from(error);
    if conflict {
        error.next("`decisiongraph runs --open` shows the job, and the id by which `cancel` stops it")
    } else {
        error
    }
}

/// Estimates the cost of a rebuild and names its blockers.
pub async fn rebuild_check(store: &dyn Store, request: JobRequest) -> Result<RebuildCheckReply, AdminError> {
    let tenant = tenant_or_default(request.tenant);
    let wanted = projections(request.projection.as_deref())?;
    let view = store.snapshot().await?;
    let events = view.count_events(&tenant, LogSeq::ORIGIN, LogSeq(i64::MAX), EVENTS_BOUND).await?;
    let filter =
        |open_only, limit| ListFilter { tenant: Some(tenant.clone()), open_only, limit, ..ListFilter::default() };
    let mut blockers = Vec::new();
    for run in view.runs(&filter(true, RUNS_LOOKED_AT)).await?.items {
        let touches = run.projection == "all" || wanted.iter().any(|projection| projection.name() == run.projection);
        if touches && run.state == RunState::Running && run.node_live {
            blockers.push(format!(
                "run {} ({} of {}) is under way on {}",
                run.run_id,
                run.mode.as_str(),
                run.projection,
                run.node
            ));
        }
    }
    for failure in view.failures(&filter(true, RUNS_LOOKED_AT)).await?.items {
        if wanted.iter().any(|projection| projection.name() == failure.projection) {
            blockers.push(format!(
                "failure {} is open: {} stops at log_seq {} ({}); a rebuild would stop there too",
                failure.failure_id,
                failure.projection,
                number(failure.log_seq.0),
                failure.category
            ));
        }
    }
    let mut estimates = Vec::new();
    for projection in &wanted {
        let scope = view.scope(&Scope::new(&tenant, *projection)).await?;
        let live_generation = scope.as_ref().map(|scope| scope.generation);
        let cursor = scope.map_or(LogSeq::ORIGIN, |scope| scope.position.cursor);
        let applied = view.count_events(&tenant, LogSeq::ORIGIN, cursor, EVENTS_BOUND).await?;
        let (size, size_source) = match live_generation.filter(|_| applied > 0) {
            Some(generation) => {
                let live = estimate::sampled(&*view, &tenant, *projection, generation).await?;
                let growth = events as f64 / applied as f64;
                (Size { rows: live.rows * growth, bytes: live.bytes * growth }, "live rows")
            }
            None => (estimate::assumed(*projection, events), "assumed"),
        };
        estimates.push(RebuildEstimate {
            projection: projection.name().to_owned(),
            live_generation,
            cursor,
            rows: size.rows.ceil() as u64,
            bytes: size.bytes.ceil() as u64,
            size_source: size_source.to_owned(),
        });
    }
    let measured = measured_rate(&*view, &filter(false, RUNS_LOOKED_AT)).await?;
    let (rate, rate_source) = match measured {
        Some((rate, run_id)) => (rate, format!("run {run_id}, {rate:.0} events a second and projection")),
        None => (
            RATE_EVENTS_PER_SECOND,
            format!("no earlier rebuild; assumed {RATE_EVENTS_PER_SECOND:.0} events a second and projection"),
        ),
    };
    Ok(RebuildCheckReply {
        tenant,
        ready: blockers.is_empty(),
        blockers,
        events,
        events_bound: EVENTS_BOUND,
        seconds: events as f64 * wanted.len() as f64 / rate,
        projections: estimates,
        rate_source,
    })
}

/// Finds the latest rebuild that was large enough to measure: its rate in events per second, and its run.
async fn measured_rate(view: &dyn ReadView, filter: &ListFilter) -> Result<Option<(f64, Uuid)>, AdminError> {
    for run in view.runs(filter).await?.items {
        if run.mode != RunMode::Rebuild || run.state != RunState::Completed {
            continue;
        }
        let scopes = recorded(&run).unwrap_or_default();
        let events: u64 = scopes.iter().map(|scope| scope.events).sum();
        let seconds: f64 = scopes.iter().map(|scope| scope.seconds).sum();
        if events >= RATE_EVENTS_MIN && seconds > 0.0 {
            return Ok(Some((events as f64 / seconds, run.run_id)));
        }
    }
    Ok(None)
}
