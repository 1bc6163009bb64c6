//! A job: a transient child that carries out one run, and endures what happens to the database meanwhile.
//!
//! *Guarantees.* It stops at a batch boundary when it is cancelled. A fault that may pass is waited out under the same
//! run. When a job dies, its supervisor counts and starts it again: the next life takes the run again and goes on from
//! its durable position. The life after one death too many records the run as failed. So the end of a job is always
//! recorded, or its run is adopted.

use super::JobRegistry;
use super::follow::follow;
use crate::board::{Database, Draining, Jitter};
use crate::children::Children;
use crate::cluster::Links;
use crate::guard::Guard;
use crate::signals::Signal;
use crate::tenants::Tenants;
use decisiongraph_engine::drive::Job as Drive;
use decisiongraph_engine::endure::{Endures, endure, go_on};
use decisiongraph_engine::failure::Pauses;
use decisiongraph_engine::observed::job_ended;
use decisiongraph_engine::telemetry::{Telemetry, signals};
use decisiongraph_engine::{Control, Engine, RunReport, projections_of};
use decisiongraph_protocol::Command;
use decisiongraph_store::{Owner, Result as StoreResult, Run, RunMode, Store, StoreError};
use decisiongraph_supervision::{ChildSpec, Vitals};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument as _;
use uuid::Uuid;

/// Parts of the node that its jobs, and their coordinator, use.
pub struct JobParts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Identity of the node.
    pub owner: Owner,
    /// Engine of the node.
    pub engine: Arc<Engine>,
    /// State of the database.
    pub database: Database,
    /// Stop of the node.
    pub draining: Draining,
    /// Tenants of the node, whose workers a catch-up follows.
    pub tenants: Tenants,
    /// Links to the other nodes, whose workers check their scopes again.
    pub links: Links,
    /// Jobs of the node.
    pub registry: Arc<JobRegistry>,
    /// Supervisor of the jobs.
    pub children: Children,
    /// Signal that jobs were lost with their supervisor.
    pub lost: Signal,
    /// Pauses after faults that may pass.
    pub retry: Pauses,
    /// Pause between two searches for orphaned jobs.
    pub adopt: Duration,
    /// Crashes that a job may have before it is given up.
    pub crashes_max: u32,
    /// Spread of the pauses.
    pub jitter: Jitter,
    /// Specification of a job's actor: of its run, which goes on with what an earlier life left, or begins.
    pub spec: fn(&Arc<JobParts>, &Run, bool) -> ChildSpec,
}

impl JobParts {
    fn telemetry(&self) -> &Telemetry {
        self.engine.telemetry()
    }
}

/// Names a job's segment in the dump's paths.
pub fn job_id(run_id: Uuid) -> String {
    format!("job {run_id}")
}

/// The job's actor.
pub struct Job {
    /// Parts of the node that its jobs use.
    pub shared: Arc<JobParts>,
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
        let (shared, run, resume, deaths) =
            (Arc::clone(&self.shared), self.run.clone(), self.resume, self.vitals.restarts());
        let run_id = run.run_id;
        self.vitals.state("running");
        self.vitals.working_on(format!("{} {} {}", run.mode.as_str(), run.tenant, run.projection));
        let control = shared.registry.control(run_id);
        let work = tokio::spawn(async move {
            let outcome = match deaths {
                0 => work(&shared, run, resume, &control).await,
                _ => work_again(&shared, run, deaths, &control).await,
            };
            if let Err(error) = &outcome {
                tracing::warn!(%run_id, category = %error.category, "the job failed: {}", error.message);
            }
            shared.registry.ended(run_id, outcome);
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
        if self.shared.registry.has(self.run.run_id) {
            return Err(format!("job {} died of a defect", self.run.run_id).into());
        }
        myself.stop(None);
        Ok(())
    }
}

/// Endurance of a node: it waits for its database without limit. An operator may mend what does not pass.
struct InNode<'a> {
    shared: &'a JobParts,
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
        tokio::time::sleep(self.shared.retry.before(attempt, self.shared.jitter.draw())).await;
        self.shared.database.up().await;
    }
}

/// Carries out the run, through faults that pass.
async fn work(shared: &JobParts, run: Run, resume: bool, control: &Control) -> StoreResult<RunReport> {
    let job = Drive::new(&shared.engine, &run, control);
    endure(&shared.engine, run, resume, control, &mut InNode { shared, job }).await
}

/// Goes on with the run of a job that died, or gives it up after one death too many.
async fn work_again(shared: &JobParts, run: Run, deaths: u32, control: &Control) -> StoreResult<RunReport> {
    let run_id = run.run_id;
    if deaths > shared.crashes_max {
        let again = Command::of(&format!("run resume {run_id}"), &run.tenant);
        let error = StoreError::internal(format!("the job died {deaths} times; {again} tries again"));
        shared.database.up().await;
        shared.engine.give_up(&run, &error).await;
        return Err(error);
    }
    tracing::warn!(%run_id, crashes = deaths, "the job's actor died; it goes on from its durable position");
    let job = Drive::new(&shared.engine, &run, control);
    go_on(&shared.engine, &run, control, &mut InNode { shared, job }).await
}
