//! A batch and a job, with their spans and metrics around them. Reports what the lane did; nothing is decided here.

use super::lane::{ApplyOptions, Lane, Target};
use super::page::Page;
use super::report::RunReport;
use crate::telemetry::{Telemetry, signals};
use decisiongraph_store::{ReadView, Result, RunMode, RunState, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{Instrument as _, Span};

/// Applies a page as [`Lane::apply_ahead`], observed.
pub async fn apply(
    lane: &mut Lane,
    store: &dyn Store,
    log: &dyn ReadView,
    page: &Arc<Page>,
    next: impl Future<Output = Option<Arc<Page>>>,
    options: &ApplyOptions,
    telemetry: &Telemetry,
) -> Result<()> {
    let (epoch, job) = match &lane.target {
        Target::Live(lease) => (Some(lease.epoch), None),
        Target::Build(lease) => (None, Some(lease.run_id)),
    };
    let (projection, before) = (lane.projection.name(), lane.events);
    let span = signals::batch_span(&lane.scope.tenant, projection, page.after, page.end(), epoch, job);
    let started = Instant::now();
    let done = lane.apply_ahead(store, log, page, next, options).instrument(span.clone()).await;
    let events = lane.events - before;
    span.record("events", events);
    if events > 0 {
        let applied = page.sound().iter().take_while(|event| event.log_seq <= lane.position.cursor);
        let bytes: u64 = applied.map(|event| event.payload.len() as u64).sum();
        batch_committed(telemetry, projection, events, bytes, started.elapsed());
    }
    let stopped = match &done {
        Err(error) => Some(error.category),
        Ok(()) => lane.failure.as_ref().map(|failure| failure.category),
    };
    if let Some(category) = stopped {
        signals::failed(&span, category);
        if done.is_ok() {
            telemetry.failure(projection, category);
        }
    }
    done
}

/// Records a committed batch: its events, their payload bytes, and its duration.
pub fn batch_committed(telemetry: &Telemetry, projection: &'static str, events: u64, bytes: u64, took: Duration) {
    telemetry.add(&signals::EVENTS_APPLIED, events, &[projection]);
    telemetry.record(&signals::BATCH_EVENTS, events as f64, &[projection]);
    telemetry.record(&signals::BATCH_BYTES, bytes as f64, &[projection]);
    telemetry.record(&signals::BATCH_DURATION, took.as_secs_f64(), &[projection]);
}

/// Reports how a job ended on this node. A job that met an error may go on on another node; here it has failed.
pub fn job_ended(telemetry: &Telemetry, span: &Span, mode: RunMode, done: &Result<RunReport>, took: Duration) {
    let state = match done {
        Ok(report) => {
            span.record("events", report.scopes.iter().map(|scope| scope.events).sum::<u64>());
            report.run.state
        }
        Err(error) => {
            signals::failed(span, error.category);
            RunState::Failed
        }
    };
    telemetry.record(&signals::JOB_DURATION, took.as_secs_f64(), &[mode.as_str(), state.as_str()]);
}
