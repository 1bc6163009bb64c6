//! Request of a job ([`RunRequest`]), and the report of its lanes.

use super::lane::{Lane, Target};
use decisiongraph_projections::{LogSeq, Projection, TenantId, catalogue};
pub use decisiongraph_protocol::report::*;
use decisiongraph_store::{Compared, RunCause, RunMode};

/// A job to be run.
#[derive(Clone)]
pub struct RunRequest {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// One projection, or all of the catalogue in its order.
    pub projections: Vec<&'static dyn Projection>,
    /// Mode of the job.
    pub mode: RunMode,
    /// Position at which to stop instead of at the mark (catch-up only).
    pub until: Option<LogSeq>,
    /// Cause of the job, for its record.
    pub cause: RunCause,
}

/// Lists the scopes of a verify that were compared.
pub(super) fn compared(scopes: &[ScopeReport]) -> Vec<Compared> {
    let of = |scope: &ScopeReport| {
        let (projection, found) = (catalogue::find(&scope.projection)?.name(), scope.verify.as_ref()?);
        Some(Compared { projection, generation: scope.generation, drifted: found.drifted })
    };
    scopes.iter().filter_map(of).collect()
}

/// Reports what a lane did, so far.
pub(super) fn scope_report(lane: &Lane, target: LogSeq) -> ScopeReport {
    ScopeReport {
        projection: lane.projection.name().to_owned(),
        from: lane.from,
        cursor: lane.position.cursor,
        target,
        events: lane.events,
        batches: lane.batches,
        seconds: lane.started.elapsed().as_secs_f64(),
        generation: match &lane.target {
            Target::Live(lease) => lease.generation,
            Target::Build(lease) => lease.generation,
        },
        digest: lane.position.digest.to_text(),
        failure: lane.failure.clone(),
        rebuild: None,
        flipped_before: false,
        verify: None,
    }
}
