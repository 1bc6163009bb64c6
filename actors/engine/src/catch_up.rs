//! Catch-up: the live generation follows the log from its durable cursor to the safe mark (or to `until`).

use super::Engine;
use super::drive::{Ended, Job};
use super::lane::{Lane, Target};
use super::mark::{self, Mark};
use super::report::{ScopeReport, scope_report};
use decisiongraph_projections::{Category, LogSeq, Projection};
use decisiongraph_protocol::Command;
use decisiongraph_store::{Acquisition, Lease, Position, Result, Scope, StoreError};

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
                "an open appender holds the mark; catching up to where it is safe"
            );
        }
        let mut lanes = Vec::with_capacity(projections.len());
        for projection in projections {
            let (lease, position) = self.take(job, *projection).await?;
            lanes.push(Lane::new(*projection, &job.tenant, Target::Live(lease), position));
        }
        for lane in &lanes {
            mark::within(&**self.store(), &lane.scope, lane.position.cursor, &mark).await?;
        }
        let log = self.store().view().await?;
        for lane in &mut lanes {
            lane.skipping(&*log).await?;
        }
        // A cursor was once at or below a mark. So it is as safe as a mark while an appender holds up the next mark.
        let safe = lanes.iter().map(|lane| lane.position.cursor).fold(mark.at, LogSeq::max);
        let target = until.map_or(safe, |until| until.min(safe));
        let mark = Mark { at: target, ..mark };
        let driven = job.drive(&mut lanes, &**self.store(), &*log, &mark).await;
        for lane in &lanes {
            if let Target::Live(lease) = &lane.target {
                // Best effort: a scope that is not released now is free when the lease is over.
                let _ = self.store().release_scope(lease).await;
            }
        }
        Ok((driven?, lanes.iter().map(|lane| scope_report(lane, target)).collect()))
    }

    async fn take(&self, job: &Job<'_>, projection: &'static dyn Projection) -> Result<(Lease, Position)> {
        let scope = Scope::new(&job.tenant, projection);
        let taken = self
            .when_free(|| async {
                match self.store().acquire_scope(&scope, job.owner).await? {
                    Acquisition::Acquired(lease, position) => Ok((lease, position)),
                    Acquisition::Held { by, expires_in } => Err(StoreError::new(
                        Category::Conflict,
                        format!(
                            "{scope} is owned by {by}, whose lease runs for another {:.1} s",
                            expires_in.as_secs_f64()
                        ),
                    )),
                }
            })
            .await?;
        // Checked under the new epoch: a pause that comes later fences it.
        let paused = self.store().view().await?.scope(&scope).await?.and_then(|row| row.paused);
        if let Some(paused) = paused {
            let _ = self.store().release_scope(&taken.0).await;
            return Err(StoreError::new(
                Category::Conflict,
                format!(
                    "{scope} is paused by {}: {}; {} lets it go on",
                    paused.by,
                    paused.reason,
                    Command::of_scope("resume", &scope.tenant, scope.projection)
                ),
            ));
        }
        if taken.1.version != projection.version() {
            let _ = self.store().release_scope(&taken.0).await;
            return Err(StoreError::new(
                Category::VersionMismatch,
                format!(
                    "the rows of {scope} were written by version {} of its rules, this program has version {}; run {}",
                    taken.1.version,
                    projection.version(),
                    Command::of_scope("rebuild", &scope.tenant, scope.projection)
                ),
            ));
        }
        Ok(taken)
    }
}
