//! Verify: the log against its seal ([`crate::seal::check`]), then three digests of a projection at one cursor.
//!
//! One digest is the stored one, one is recomputed from the live rows, one is recomputed from the log. An edited row
//! leaves an incremental digest unchanged, so only the recomputed ones find tampering. Rows do not show that the log is
//! as it was: they follow from it.
//!
//! ```text
//! log  ──▶ fold into a scratch store ──▶ digest of the log ───┐
//!                                                             ├──▶ all equal? ── no ──▶ compare row by row
//! rows ──▶ scan, in one snapshot ──────▶ digest of the rows ──┘
//! ```
//!
//! *Guarantees.* The stored digest and the rows are of one instant; the log up to a cursor never changes. Two different
//! sets of rows do not have one digest (`digest::rolling`), and the scan checks that the rows are a set. So rows are
//! compared one by one only when something is wrong, to name the first that differ. The scratch store is an embedded
//! file that is deleted afterwards: nothing in the verified database changes but the row of the run. Memory is bounded.

use super::claim::claim;
use super::compare::{Compared, Side};
use super::drive::{Ended, Job};
use super::lane::{Lane, Target};
use super::mark::Mark;
use super::report::{
    LogReport, RunReport, RunRequest, SKIPS_NAMED_MAX, ScopeReport, VerifyFacts, recording, scope_report,
};
use super::{Control, Engine};
use crate::seal::check::{Watch, check};
use crate::seal::notary::now;
use crate::telemetry::Telemetry;
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId};
use decisiongraph_store::{Owner, ReadView, Result, Run, RunMode, RunState, Scope, Store, StoreError};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use uuid::Uuid;

impl Engine {
    /// Verifies the log, then these projections. Rows that follow from a log that is not as it was sealed are not
    /// compared: they may well agree with it.
    pub(super) async fn verify(
        &self,
        job: &mut Job<'_>,
        projections: &[&'static dyn Projection],
        is_empty: bool,
    ) -> Result<(Ended, Vec<ScopeReport>)> {
        if !job.control.verify.no_log {
            let (ended, log) = {
                let mut watch = Watch::new(job.control, Some(&*job));
                check(self, &job.tenant, &job.control.verify, &mut watch).await?
            };
            // A tenant without events has nothing to seal.
            job.log = Some(log).filter(|log| !is_empty || *log != LogReport::Unsealed);
            if ended == Ended::Cancelled {
                return Ok((ended, Vec::new()));
            }
        }
        match is_empty || job.is_about_log() {
            true => Ok((Ended::Reached, Vec::new())),
            false => rows(job, projections).await,
        }
    }

    /// Checks the log alone, where no run can be recorded: on a standby, or in a database that is read-only.
    pub(super) async fn check_unrecorded(
        &self,
        run_id: Uuid,
        request: &RunRequest,
        control: &Control,
    ) -> Result<RunReport> {
        let began = now();
        let (ended, log) = check(self, &request.tenant, &control.verify, &mut Watch::new(control, None)).await?;
        let state = if ended == Ended::Cancelled { RunState::Cancelled } else { RunState::Completed };
        let run = Run {
            run_id,
            tenant: request.tenant.clone(),
            projection: "all".to_owned(),
            mode: RunMode::Verify,
            state,
            node: self.owner().node.clone(),
            node_live: true,
            until: None,
            current: None,
            cursor: LogSeq::ORIGIN,
            target: LogSeq::ORIGIN,
            events: 0,
            cancel_requested: ended == Ended::Cancelled,
            error: None,
            report: Some(recording(&[], Some(&log))),
            created_at: began,
            finished_at: Some(now()),
            reason: request.cause.reason.clone(),
            requested_by: request.cause.requested_by.clone(),
            metadata: request.cause.metadata.clone(),
        };
        Ok(RunReport { run, scopes: Vec::new(), log: Some(log) })
    }
}

/// Verifies these projections. Rows are scanned while the log is folded.
async fn rows(job: &mut Job<'_>, projections: &[&'static dyn Projection]) -> Result<(Ended, Vec<ScopeReport>)> {
    let (snapshot, log) = (job.store().snapshot().await?, job.store().view().await?);
    let scratch = Scratch::new("verify").await?;
    let tenant = job.tenant.clone();
    let mut lives = Vec::with_capacity(projections.len());
    for (number, projection) in projections.iter().enumerate() {
        let live = snapshot.scope(&Scope::new(&tenant, *projection)).await?;
        lives.extend(live.map(|live| (number, *projection, live)));
    }
    lives.sort_by_key(|(_, _, live)| live.position.cursor);
    let mut lanes = Vec::with_capacity(lives.len());
    for (_, projection, _) in &lives {
        let mut lane = scratch.lane(*projection, &tenant, job.engine.owner()).await?;
        lane.skipping(&*snapshot).await?;
        lanes.push(lane);
    }
    let side = |projection, generation| Side { view: &*snapshot, tenant: &tenant, projection, generation };
    let pace = job.pace.clone();
    let (ended, scans) = {
        let targets: Vec<LogSeq> = lives.iter().map(|(_, _, live)| live.position.cursor).collect();
        let fold = pin!(fold(job, &scratch, &*log, &targets, &mut lanes));
        let scan = pin!(async {
            let mut scans = Vec::with_capacity(lives.len());
            for (_, projection, live) in &lives {
                scans.push(side(*projection, live.generation).scan(pace.as_deref()).await?);
            }
            Result::Ok(scans)
        });
        match select(fold, scan).await {
            Either::Left((Ok(Ended::Reached), scan)) => (Ended::Reached, scan.await?),
            Either::Left((ended, _)) => (ended?, Vec::new()),
            Either::Right((scans, fold)) => {
                let scans = scans?;
                (fold.await?, scans)
            }
        }
    };
    if ended == Ended::Cancelled {
        return Ok((ended, Vec::new()));
    }
    let mut reports = Vec::with_capacity(lanes.len());
    for (((number, projection, live), lane), scan) in lives.into_iter().zip(lanes).zip(scans) {
        let target = live.position.cursor;
        let mut report = ScopeReport { generation: live.generation, ..scope_report(&lane, target) };
        if lane.failure.is_none() {
            let stored = live.position.digest;
            let same = scan.sound && stored == scan.digest && stored == lane.position.digest;
            let compared = match same {
                true => Compared::default(),
                false => {
                    let view = scratch.store.view().await?;
                    let log = Side { view: &*view, tenant: &tenant, projection, generation: lane.generation() };
                    side(projection, live.generation).compare(&log).await?
                }
            };
            let mut skipped = snapshot.skips(&lane.scope).await?;
            skipped.retain(|skip| skip.log_seq <= target);
            let skipped_total = skipped.len() as u64;
            skipped.truncate(SKIPS_NAMED_MAX);
            report.digest = stored.to_text();
            report.verify = Some(VerifyFacts {
                stored: stored.to_text(),
                from_rows: scan.digest.to_text(),
                from_log: lane.position.digest.to_text(),
                drifted: !same,
                first: compared.first,
                more: compared.more,
                skipped,
                skipped_total,
            });
        }
        report.seconds = lane.started.elapsed().as_secs_f64();
        reports.push((number, report));
    }
    reports.sort_by_key(|(number, _)| *number);
    Ok((ended, reports.into_iter().map(|(_, report)| report).collect()))
}

/// Folds the log into the scratch store, each lane to its target. The targets ascend: all lanes share the pages up to
/// the first, all others those up to the second, and so on.
async fn fold(
    job: &mut Job<'_>,
    scratch: &Scratch,
    log: &dyn ReadView,
    targets: &[LogSeq],
    lanes: &mut [Lane],
) -> Result<Ended> {
    for (first, target) in targets.iter().enumerate() {
        // All events at or below a cursor are committed.
        let mark = Mark { at: *target, history: None };
        if job.drive(&mut lanes[first..], &*scratch.store, log, &mark).await? == Ended::Cancelled {
            return Ok(Ended::Cancelled);
        }
    }
    Ok(Ended::Reached)
}

/// A store for intermediate results, in a folder that is removed with it.
pub(super) struct Scratch {
    /// Empty store, with its schema.
    pub store: Arc<dyn Store>,
    /// Guard that removes the folder.
    _folder: tempfile::TempDir,
}

impl Scratch {
    /// Creates a scratch store; `purpose` is part of the folder's name. `storage` when there is no place for it.
    pub async fn new(purpose: &str) -> Result<Scratch> {
        let folder =
            tempfile::Builder::new().prefix(&format!("decisiongraph-{purpose}-")).tempdir().map_err(|error| {
                StoreError::new(
                    Category::Storage,
                    format!("no scratch folder for the {purpose}: {error}; set TMPDIR to a writable folder with space"),
                )
            })?;
        let store = decisiongraph_store::sqlite::scratch(&folder.path().join("fold.db")).await?;
        Ok(Scratch { store, _folder: folder })
    }

    /// Makes a lane that fills the store from the origin of a tenant's log.
    pub async fn lane(&self, projection: &'static dyn Projection, tenant: &TenantId, owner: &Owner) -> Result<Lane> {
        let scope = Scope::new(tenant, projection);
        let (mark, telemetry) = (Mark::default(), Telemetry::default());
        let claim = claim(&*self.store, owner, &scope, projection, &mark, &telemetry).await?;
        let (lease, position) = claim.granted(&scope, projection)?;
        Ok(Lane::new(projection, tenant, Target::Live(lease), position))
    }
}
