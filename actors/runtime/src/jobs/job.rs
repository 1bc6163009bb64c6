//! A job: a transient child that carries out one run, and endures what happens to the database meanwhile.
//!
//! *Guarantees.* It stops at a batch boundary when it is cancelled. A fault that may pass is waited out under the same
//! run. When a job dies, its supervisor counts and starts it again: the next life takes the run again and goes on from
//! its durable position. The life after one death too many records the run as failed. So the end of a job is always
//! recorded, or its run is adopted.

use super::JobParts;
use super::follow::follow;
use crate::guard::Guard;
use decisiongraph_engine::drive::Job as Drive;
use decisiongraph_engine::endure::{Endures, endure, go_on};
use decisiongraph_engine::observed::job_ended;
use decisiongraph_engine::telemetry::signals;
use decisiongraph_engine::{Control, RunReport, projections_of};
use decisiongraph_protocol::Command;
use decisiongraph_store::{Result as StoreResult, Run, RunMode, StoreError};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// Names a job's segment in the dump's paths.
pub fn job_id(run_id: Uuid) -> String {
    format!("job {run_id}")
}

/// The job's actor.
pub struct Job {
    /// Parts of the node that its jobs use.
    pub parts: Arc<JobParts>,
    /// Run of the job.
    pub run: Run,
    /// True when the job goes on with what an earlier run left.
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

impl Actor for Job {
    type Msg = JobMessage;
    /// Work under way; ends with the actor, however that ends.
    type State = Guard;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let (parts, run, resume, deaths) =
            (Arc::clone(&self.parts), self.run.clone(), self.resume, self.vitals.restarts());
        let run_id = run.run_id;
        self.vitals.state("running");
        self.vitals.working_on(format!("{} {} {}", run.mode.as_str(), run.tenant, run.projection));
        let control = parts.registry.control(run_id);
        let work = tokio::spawn(async move {
            let outcome = match deaths {
                0 => work(&parts, run, resume, &control).await,
                _ => work_again(&parts, run, deaths, &control).await,
            };
            if let Err(error) = &outcome {
                tracing::warn!(%run_id, category = %error.category, "the job failed: {}", error.message);
            }
            parts.registry.ended(run_id, outcome);
        });
        let guard = Guard::from(&work);
        tokio::spawn(async move {
            // Ended, or died of a panic. After a panic the registry has no outcome.
            let _ = work.await;
            let _ = myself.cast(JobMessage::Ended);
        });
        Ok(guard)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        JobMessage::Ended: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        self.vitals.noted("ended");
        if self.parts.registry.has(self.run.run_id) {
            return Err(format!("job {} died of a defect", self.run.run_id).into());
        }
        myself.stop(None);
        Ok(())
    }
}

/// Endurance of a node: it waits for its database without limit. An operator may mend what does not pass.
struct InNode<'a> {
    parts: &'a JobParts,
    job: Drive<'a>,
}

impl Endures for InNode<'_> {
    async fn attempt(&mut self, run: &Run, resume: bool) -> StoreResult<RunReport> {
        let InNode { parts, job } = self;
        let projections = projections_of(run)?;
        if run.mode != RunMode::CatchUp {
            return parts.engine.carry_out(job, run, &projections, resume).await;
        }
        let span = signals::job_span(&run.tenant, run.run_id, run.mode.as_str());
        let started = Instant::now();
        let done = follow(parts, job, run, &projections).instrument(span.clone()).await;
        job_ended(parts.telemetry(), &span, run.mode, &done, started.elapsed());
        done
    }

    fn batches(&self) -> u64 {
        self.job.batches
    }

    fn met(&self, error: &StoreError) {
        self.parts.database.suspect(error);
    }

    fn is_hopeless(&self, _: &StoreError) -> bool {
        false
    }

    async fn rest(&self, attempt: u32) {
        tokio::time::sleep(self.parts.retry.before(attempt, self.parts.jitter.draw())).await;
        self.parts.database.up().await;
    }
}

/// Carries out the run, through faults that pass.
async fn work(parts: &JobParts, run: Run, resume: bool, control: &Control) -> StoreResult<RunReport> {
    let job = Drive::new(&parts.engine, &run, control);
    endure(&parts.engine, run, resume, control, &mut InNode { parts, job }).await
}

/// Goes on with the run of a job that died, or gives it up after one death too many.
async fn work_again(parts: &JobParts, run: Run, deaths: u32, control: &Control) -> StoreResult<RunReport> {
    let run_id = run.run_id;
    if deaths > parts.crashes_max {
        let again = Command::of(&format!("run resume {run_id}"), &run.tenant);
        let error = StoreError::internal(format!("the job died {deaths} times; {again} tries again"));
        parts.database.up().await;
        parts.engine.give_up(&run, &error).await;
        return Err(error);
    }
    tracing::warn!(%run_id, crashes = deaths, "the job's actor died; the job continues from its durable position");
    let job = Drive::new(&parts.engine, &run, control);
    go_on(&parts.engine, &run, control, &mut InNode { parts, job }).await
}
