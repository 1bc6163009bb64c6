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
    /// Part of a verify. It is not recorded: another node that takes the job over verifies everything.
    pub verify: VerifyOptions,
}

/// Part of a verify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// True for the log alone, without rows. Nothing is recorded where nothing can be written.
    pub log_only: bool,
    /// True for the rows alone.
    pub no_log: bool,
    /// Leaves that are taken as checked: the check of the log begins behind them.
    pub since: u64,
    /// The one memory that the log is compared with; every known one when none.
    pub against: Option<String>,
    /// Most rows and events per second; no limit when none.
    pub rows_per_s: Option<u64>,
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
