//! A job: a temporary child that carries out one run, and endures what happens to the database meanwhile.
//!
//! *Guarantees.* It stops at a batch boundary when it is cancelled. A fault that may pass is waited out under the same
//! run. When a job dies, the replay coordinator sees it, and the job goes on from its durable position. Its end is
//! always recorded, or its run is adopted.

use super::follow::follow;
use crate::node::{Guard, Shared};
use decisiongraph_engine::drive::Job as Drive;
use decisiongraph_engine::endure::{Endures, endure};
use decisiongraph_engine::observed::job_ended;
use decisiongraph_engine::telemetry::signals;
use decisiongraph_engine::{Control, RunReport, projections_of};
use decisiongraph_store::{Result as StoreResult, Run, RunMode, StoreError};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// The job's actor.
pub struct Job {
    /// Handles of the node.
    pub shared: Shared,
    /// Run of the job.
    pub run: Run,
    /// True when the job goes on with what an earlier life left.
    pub resume: bool,
    /// Entry of the job in the dump.
    pub vitals: Vitals,
}

/// Messages to the job.
#[derive(RactorMessage)]
pub enum JobMessage {
    /// The work has ended, with or without success.
    Ended,
}

/// Work under way; ends with the actor, however that ends.
pub struct JobState {
    _work: Guard,
    _seen: Seen,
}

/// Tells the board that the actor is gone.
struct Seen(Shared, Uuid);

impl Drop for Seen {
    fn drop(&mut self) {
        self.0.jobs.stopped(self.1);
        self.0.poke_replay();
    }
}

impl Actor for Job {
    type Msg = JobMessage;
    type State = JobState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let (shared, run, resume) = (self.shared.clone(), self.run.clone(), self.resume);
        let run_id = run.run_id;
        self.vitals.state("running");
        self.vitals.working_on(format!("{} {} {}", run.mode.as_str(), run.tenant, run.projection));
        let seen = Seen(shared.clone(), run_id);
        let control = shared.jobs.control(run_id);
        let work = tokio::spawn(async move {
            let outcome = work(&shared, run, resume, &control).await;
            if let Err(error) = &outcome {
                tracing::warn!(%run_id, category = %error.category, "the job failed: {}", error.message);
            }
            shared.jobs.ended(run_id, outcome);
        });
        let work_guard = Guard::from(&work);
        tokio::spawn(async move {
            // Ended, or died of a panic. After a panic the board has no outcome, and the coordinator restarts the job
            // or gives it up.
            let _ = work.await;
            let _ = myself.cast(JobMessage::Ended);
        });
        Ok(JobState { _work: work_guard, _seen: seen })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        JobMessage::Ended: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        self.vitals.noted("ended");
        if self.shared.jobs.has(self.run.run_id) {
            return Err(format!("job {} died of a defect", self.run.run_id).into());
        }
        myself.stop(None);
        Ok(())
    }
}

/// Endurance of a node: it waits for its database without limit. An operator may mend what does not pass.
struct InNode<'a> {
    shared: &'a Shared,
    job: Drive<'a>,
}

impl Endures for InNode<'_> {
    async fn attempt(&mut self, run: &Run, resume: bool) -> StoreResult<RunReport> {
        let InNode { shared, job } = self;
        let projections = projections_of(run)?;
        if run.mode != RunMode::CatchUp {
            return shared.engine.carry_out(job, run, &projections, resume).await;
        }
        let span = signals::job_span(&run.tenant, run.run_id, run.mode.as_str());
        let started = Instant::now();
        let done = follow(shared, job, run, &projections).instrument(span.clone()).await;
        job_ended(shared.telemetry(), &span, run.mode, &done, started.elapsed());
        done
    }

    fn batches(&self) -> u64 {
        self.job.batches
    }

    fn met(&self, error: &StoreError) {
        self.shared.database.suspect(error);
    }

    fn is_hopeless(&self, _: &StoreError) -> bool {
        false
    }

    async fn rest(&self, attempt: u32) {
        tokio::time::sleep(self.shared.bounds.retry.before(attempt, self.shared.jitter())).await;
        self.shared.database.up().await;
    }
}

/// Carries out the run, through faults that pass.
async fn work(shared: &Shared, run: Run, resume: bool, control: &Control) -> StoreResult<RunReport> {
    let job = Drive::new(&shared.engine, &run, control, &shared.trust);
    endure(&shared.engine, run, resume, control, &mut InNode { shared, job }).await
}
