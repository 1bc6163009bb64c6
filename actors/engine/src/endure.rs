//! Endurance: a recorded job goes on through faults that pass, in a node and without one.
//!
//! *Guarantees.* After a fault that may pass the job waits, takes its run again under the same id, and claims its
//! scopes or builds again. It goes on from their durable positions. There is no other way back. An end that was
//! recorded and whose answer was lost is found in the run's row. A fault that cannot pass without help ends the job
//! with its reason.

use super::drive::Job;
use super::{Control, Engine, RunReport};
use crate::failure::{Decision, Pauses, decide};
use decisiongraph_projections::{Category, Projection};
use decisiongraph_store::{Result, Run, RunState, StoreError};
use std::time::Duration;
use uuid::Uuid;

/// Faults in a row without progress that are waited out before a job is given up: with the longest pause, some minutes.
const FAULTS_MAX: u32 = 60;
/// Pauses after faults, where no node sets others.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

/// A job, and the way its surroundings meet a fault.
pub trait Endures: Send + Sync {
    /// Carries out the run; `resume` says that it goes on with an earlier attempt.
    fn attempt(&mut self, run: &Run, resume: bool) -> impl Future<Output = Result<RunReport>> + Send;

    /// Counts the batches that the job has committed.
    fn batches(&self) -> u64;

    /// Receives a fault.
    fn met(&self, error: &StoreError);

    /// True when the fault will not be repaired while the job waits.
    fn is_hopeless(&self, error: &StoreError) -> bool;

    /// Waits before an attempt (numbered from 1).
    fn rest(&self, attempt: u32) -> impl Future<Output = ()> + Send;
}

/// A job of a command that works directly on the database. The operator who repairs a permanent fault also runs the
/// command again.
pub(super) struct Alone<'a> {
    pub job: Job<'a>,
    pub projections: &'a [&'static dyn Projection],
    /// True for a rebuild that starts anew: unfinished builds of earlier rebuilds are abandoned.
    pub abandons: bool,
}

impl Endures for Alone<'_> {
    async fn attempt(&mut self, run: &Run, resume: bool) -> Result<RunReport> {
        let engine = self.job.engine;
        if self.abandons {
            engine.abandon_older_builds(run, self.projections).await?;
        }
        engine.carry_out(&mut self.job, run, self.projections, resume).await
    }

    fn batches(&self) -> u64 {
        self.job.batches
    }

    fn met(&self, _: &StoreError) {}

    fn is_hopeless(&self, error: &StoreError) -> bool {
        error.category == Category::Unavailable && !error.transient
    }

    async fn rest(&self, attempt: u32) {
        let jitter = Uuid::new_v4().as_u64_pair().0;
        tokio::time::sleep(PAUSES.before(attempt, jitter)).await;
    }
}

/// State of a run after a fault.
enum Again {
    /// The run belongs to this process, to go on with.
    Taken(Run),
    /// The run had ended before the fault was met.
    Ended(Run),
}

/// Carries out a run through faults that pass, attempt after attempt. A flag tells each attempt that it goes on with an
/// earlier one.
pub async fn endure(
    engine: &Engine,
    mut run: Run,
    mut resume: bool,
    control: &Control,
    job: &mut impl Endures,
) -> Result<RunReport> {
    let (mut faults, mut batches) = (0, job.batches());
    loop {
        let error = match job.attempt(&run, resume).await {
            Ok(report) => return Ok(report),
            Err(error) => error,
        };
        let before = std::mem::replace(&mut batches, job.batches());
        faults = if batches > before { 1 } else { faults + 1 };
        job.met(&error);
        if decide(&error, faults) == Decision::Fail || job.is_hopeless(&error) || faults > FAULTS_MAX {
            engine.give_up(&run, &error).await;
            return Err(error);
        }
        let (run_id, category) = (run.run_id, error.category);
        if faults == 1 {
            tracing::warn!(%run_id, %category, "the job waits and continues: {}", error.message);
        } else {
            tracing::info!(%run_id, %category, "the job waits and continues: {}", error.message);
        }
        match again(engine, &run, control, &*job, faults).await? {
            Again::Taken(taken) => run = taken,
            Again::Ended(ended) => return Ok(RunReport::stored(ended)),
        }
        resume = true;
    }
}

/// Goes on with a run after the life in which it was carried out ended early: takes the run again, then endures.
pub async fn go_on(engine: &Engine, run: &Run, control: &Control, job: &mut impl Endures) -> Result<RunReport> {
    match again(engine, run, control, &*job, 1).await? {
        Again::Taken(taken) => endure(engine, taken, true, control, job).await,
        Again::Ended(ended) => Ok(RunReport::stored(ended)),
    }
}

/// Takes the run again after a fault. An error means that the run no longer belongs to this process, or that the fault
/// does not pass.
async fn again(engine: &Engine, run: &Run, control: &Control, job: &impl Endures, faults: u32) -> Result<Again> {
    let mut attempt = faults;
    loop {
        job.rest(attempt).await;
        match taken(engine, run.run_id, control).await {
            Ok(again) => return Ok(again),
            Err(error) if error.transient || error.category == Category::Unavailable => {
                job.met(&error);
                attempt += 1;
                if job.is_hopeless(&error) || attempt > FAULTS_MAX || control.cancel.is_requested() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn taken(engine: &Engine, run_id: Uuid, control: &Control) -> Result<Again> {
    let stored = engine.store().view().await?.run(run_id).await?;
    let stored = stored.ok_or_else(|| StoreError::new(Category::NotFound, format!("run {run_id} is gone")))?;
    match stored.state {
        RunState::Queued | RunState::Running => {}
        RunState::Completed | RunState::Cancelled => return Ok(Again::Ended(stored)),
        RunState::Failed => {
            return Err(StoreError::fenced(format!("run {run_id} was ended elsewhere: it is failed")));
        }
    }
    if stored.cancel_requested {
        // Taking a run clears its cancel request; the job keeps it.
        control.cancel.request();
    }
    engine.store().adopt_run(run_id, engine.owner()).await.map(Again::Taken)
}
