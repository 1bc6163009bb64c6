//! Catch-up: the live generation follows the log from its durable cursor to the safe mark (or to `until`).

use super::Engine;
use super::claim::{Claim, claim};
use super::drive::{Ended, Job};
use super::lane::Target;
use super::mark::Mark;
use super::report::{ScopeReport, scope_report};
use decisiongraph_projections::{LogSeq, Projection};
use decisiongraph_store::{Lease, Position, Result, Scope};
use futures_util::future::join;
use tokio::sync::watch;

impl Engine {
    /// Catches up these projections.
    pub(super) async fn catch_up(
        &self,
        job: &mut Job<'_>,
        projections: &[&'static dyn Projection],
        until: Option<LogSeq>,
    ) -> Result<(Ended, Vec<ScopeReport>)> {
        let reading = self.read_mark(self.config().mark_wait).await?;
        let mark = reading.mark;
        if !reading.waiting_for.is_empty() {
            tracing::warn!(
                mark = mark.at.0,
                pids = ?reading.waiting_for.iter().filter_map(|writer| writer.pid).collect::<Vec<_>>(),
                "an open appender holds the mark; catching up to the safe position"
            );
        }
        let mut lanes = Vec::with_capacity(projections.len());
        for projection in projections {
            let (lease, position) = self.take(*projection, &Scope::new(&job.tenant, *projection), &mark).await?;
            lanes.push(job.lane(*projection, Target::Live(lease), position));
        }
        let log = self.store().view().await?;
        // A cursor was once at or below a mark. So it is as safe as a mark while an appender holds up the next mark.
        let safe = lanes.iter().map(|lane| lane.position.cursor).fold(mark.at, LogSeq::max);
        let target = until.map_or(safe, |until| until.min(safe));
        let mark = Mark { at: target, ..mark };
        let (tenant, (stop, stopped)) = (job.tenant.clone(), watch::channel(false));
        let driving = async {
            let driven = job.drive(&mut lanes, &**self.store(), &*log, &mark).await;
            stop.send_replace(!matches!(driven, Ok(Ended::Reached)));
            for lane in &lanes {
                if let Target::Live(lease) = &lane.target {
                    // Best effort: a scope that is not released now is free when the lease is over.
                    let _ = self.store().release_scope(lease).await;
                }
            }
            driven
        };
        let (driven, ()) = join(driving, self.seal_beside(&tenant, &mark, stopped)).await;
        let reports = lanes.iter().map(|lane| scope_report(lane, target)).collect();
        match driven {
            Ok(ended) => Ok((ended, reports)),
            Err(error) => Err(job.lost(lanes, error)),
        }
    }

    /// Claims the scope; waits while its owner may be dead.
    pub(super) async fn take(
        &self,
        projection: &'static dyn Projection,
        scope: &Scope,
        mark: &Mark,
    ) -> Result<(Lease, Position)> {
        let ask = || async {
            let asked = claim(&**self.store(), self.owner(), scope, projection, mark, self.telemetry());
            match asked.await? {
                held @ Claim::Held { .. } => held.granted(scope, projection).map(|(yours, at)| Claim::Yours(yours, at)),
                told => Ok(told),
            }
        };
        self.when_free(ask).await?.granted(scope, projection)
    }
}
