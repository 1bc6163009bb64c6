//! Admits jobs, one per scope, and starts them as children. Adopts jobs of nodes that are gone, and jobs that were lost
//! with their supervisor.
//!
//! *Guarantees.* A `running` row has a process that works on it, or gets one, or is marked failed with its reason. It
//! never blocks its scope for ever. The coordinator itself remembers nothing that the run rows and the registry do
//! not have. When it dies, jobs go on.

use super::schedule::{self, Schedule};
use super::{JobParts, job_id};
use crate::guard::Guard;
use decisiongraph_engine::RunRequest;
use decisiongraph_projections::Category;
use decisiongraph_protocol::has_ended;
use decisiongraph_store::{Creation, ListFilter, NewRun, Result as StoreResult, Run, RunMode, RunState, StoreError};
use decisiongraph_supervision::{SupervisorError, SupervisorRef, Vitals};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Open runs that one search for orphans reads, at most.
const ORPHANS_PAGE: usize = 1_000;
/// Longest wait for a job's actor to end when its row has ended.
const ENDING_WAIT: Duration = Duration::from_secs(1);

/// The replay coordinator's actor.
pub struct ReplayCoordinator(pub Arc<JobParts>, pub Vitals);

/// Messages to the replay coordinator.
#[derive(RactorMessage)]
pub enum ReplayMessage {
    /// Start a job under this id. The same id again is answered with the same run: nothing is started twice.
    Start(Uuid, RunRequest, RpcReplyPort<StoreResult<Run>>),
    /// Go on with an orphaned, failed or cancelled job.
    Resume(Uuid, RpcReplyPort<StoreResult<Run>>),
    /// Search for jobs that no actor works on.
    Adopt,
    /// Start a verify of a tenant whose last one is old enough.
    Schedule,
}

/// Shortest pause between two looks at the schedule.
const SCHEDULE_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between two looks at the schedule.
const SCHEDULE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// State of the replay coordinator.
pub struct ReplayState {
    schedule: Schedule,
    _signals: Guard,
    _first: Guard,
}

impl Actor for ReplayCoordinator {
    type Msg = ReplayMessage;
    type State = ReplayState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let ReplayCoordinator(parts, _) = self;
        myself.send_interval(parts.adopt, || ReplayMessage::Adopt);
        if !parts.verify_every.is_zero() {
            let pause = (parts.verify_every / 10).clamp(SCHEDULE_PAUSE, SCHEDULE_PAUSE_MAX);
            myself.send_interval(pause, || ReplayMessage::Schedule);
        }
        let signals = parts.lost.wakes(&myself, || ReplayMessage::Adopt);
        let database = parts.database.clone();
        let first = tokio::spawn(async move {
            database.up().await;
            let _ = myself.cast(ReplayMessage::Adopt);
        });
        Ok(ReplayState { schedule: Schedule::default(), _signals: signals, _first: first.into() })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let ReplayCoordinator(parts, vitals) = self;
        match message {
            ReplayMessage::Start(run_id, request, reply) => {
                vitals.noted("start");
                let started = self.start(run_id, &request).await;
                let _ = reply.send(started);
            }
            ReplayMessage::Resume(run_id, reply) => {
                vitals.noted("resume");
                let _ = reply.send(self.resume(run_id).await);
            }
            ReplayMessage::Adopt => {
                vitals.noted("adopt");
                if self.may_work()
                    && let Err(error) = self.adopt().await
                {
                    parts.database.suspect(&error);
                    tracing::debug!(category = %error.category, "orphaned jobs were not searched for: {}", error.message);
                }
            }
            ReplayMessage::Schedule => {
                vitals.noted("schedule");
                if self.may_work()
                    && let Err(error) = self.verify_next(&mut state.schedule).await
                {
                    parts.database.suspect(&error);
                    tracing::debug!(category = %error.category, "no verify was scheduled: {}", error.message);
                }
            }
        }
        vitals.working_on(format!("{} jobs", parts.registry.running().len()));
        Ok(())
    }
}

impl ReplayCoordinator {
    /// True while this node can take and start jobs.
    fn may_work(&self) -> bool {
        self.0.database.is_up() && !self.0.engine.validity().left().is_zero()
    }

    /// Starts the verify that is due, if there is one.
    async fn verify_next(&self, schedule: &mut Schedule) -> StoreResult<()> {
        if self.0.draining.has_begun() {
            return Ok(());
        }
        let Some(tenant) = schedule.next(&self.0).await? else { return Ok(()) };
        let run_id = Uuid::now_v7();
        match self.start(run_id, &schedule::request(&self.0, tenant.clone())).await {
            Ok(_) => schedule.started(run_id),
            // Another job holds a scope of the tenant.
            Err(error) if error.category == Category::Conflict => schedule.held(&tenant),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn start(&self, run_id: Uuid, request: &RunRequest) -> StoreResult<Run> {
        let ReplayCoordinator(parts, _) = self;
        if parts.draining.has_begun() {
            return Err(StoreError::new(
                Category::Unavailable,
                "this node is stopping; ask another node, or ask later",
            ));
        }
        let new = NewRun {
            run_id,
            tenant: request.tenant.clone(),
            projections: request.projections.iter().map(|projection| projection.name()).collect(),
            mode: request.mode,
            until: request.until,
            owner: parts.engine.owner().clone(),
            cause: request.cause.clone(),
        };
        let run = match parts.engine.store().create_run(&new).await? {
            Creation::Existing(run) => return Ok(run),
            Creation::Created(run) => run,
        };
        if new.mode == RunMode::Rebuild {
            parts.engine.abandon_older_builds(&run, &request.projections).await?;
        }
        parts.registry.verifies(&run, &request.verify);
        self.launch(&run, false).await;
        Ok(run)
    }

    async fn resume(&self, run_id: Uuid) -> StoreResult<Run> {
        let ReplayCoordinator(parts, _) = self;
        let stored = parts.engine.store().view().await?.run(run_id).await?;
        let stored = stored.ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no run {run_id}")))?;
        if stored.state == RunState::Completed {
            return Err(StoreError::new(Category::Conflict, format!("run {run_id} is completed; start a new one")));
        }
        if let Some(mut job) = parts.registry.view(run_id).filter(|_| parts.registry.has(run_id)) {
            if !has_ended(stored.state) {
                return Ok(stored);
            }
            // The row has ended, and the actor is about to end. It must not take the new life's cancel and outcome for
            // its own.
            let _ = tokio::time::timeout(ENDING_WAIT, job.outcome.wait_for(Option::is_some)).await;
        }
        let run = parts.engine.store().adopt_run(run_id, parts.engine.owner()).await?;
        self.launch(&run, true).await;
        Ok(run)
    }

    /// Starts the job's child. The next search finds a job that could not be started.
    async fn launch(&self, run: &Run, resume: bool) {
        let ReplayCoordinator(parts, _) = self;
        parts.registry.put(run);
        let started = match parts.children.supervisor() {
            Some(supervisor) => self.start_child(&supervisor, run, resume).await.map_err(|error| error.to_string()),
            None => Err("the supervisor of jobs is not there".to_owned()),
        };
        if let Err(error) = started {
            parts.registry.lost(run.run_id);
            tracing::warn!(run_id = %run.run_id, "the job was not started: {error}");
        }
    }

    async fn start_child(&self, supervisor: &SupervisorRef, run: &Run, resume: bool) -> Result<(), SupervisorError> {
        let spec = || (self.0.spec)(&self.0, run, resume);
        let started = supervisor.start_child(spec()).await;
        let Err(SupervisorError::AlreadyStarted | SupervisorError::AlreadyPresent) = started else {
            return started.map(|_| ());
        };
        // The run had ended, and its actor is about to end.
        let id = job_id(run.run_id);
        let _ = supervisor.terminate_child(&id).await;
        let _ = supervisor.delete_child(&id).await;
        supervisor.start_child(spec()).await.map(|_| ())
    }

    /// Takes over jobs that gone nodes left behind, and jobs that this node lost.
    async fn adopt(&self) -> StoreResult<()> {
        let ReplayCoordinator(parts, _) = self;
        if parts.draining.has_begun() {
            return Ok(());
        }
        let filter = ListFilter { open_only: true, limit: ORPHANS_PAGE, ..ListFilter::default() };
        for run in parts.engine.store().view().await?.runs(&filter).await?.items {
            let lost = run.node_live && run.node == parts.engine.owner().node && !parts.registry.has(run.run_id);
            if run.node_live && !lost {
                continue;
            }
            if run.cancel_requested {
                // An operator asked the job to stop, and no actor is there to do so.
                self.cancel_orphan(&run).await;
                continue;
            }
            match parts.engine.store().adopt_run(run.run_id, parts.engine.owner()).await {
                Ok(adopted) => {
                    tracing::info!(run_id = %run.run_id, from = %run.node, "an orphaned job is adopted and continues");
                    self.launch(&adopted, true).await;
                }
                // Another node was faster, or another job holds the scope now.
                Err(error) if error.category == Category::Conflict => {
                    tracing::debug!(run_id = %run.run_id, "not adopted: {}", error.message);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn cancel_orphan(&self, run: &Run) {
        if let Err(error) = self.0.engine.store().request_cancel(run.run_id).await {
            tracing::debug!(run_id = %run.run_id, "the orphan was not cancelled: {}", error.message);
        }
    }
}
