//! The engine: catch-up, rebuild and verify over a store, as plain async functions.
//!
//! [`Engine::run`] records a job, keeps its owner's lease alive, and works through its projections. [`catch_up`],
//! [`rebuild`] and [`verify`] set up [`lane`]s; [`drive`] moves them along the log one [`page`] at a time. [`mark`]
//! says how far it is safe to read. [`seal`] makes a tree of the log.
//!
//! *Never here:* SQL, projection rules.

pub mod alive;
mod budget;
mod catch_up;
pub mod claim;
mod compare;
pub mod drive;
pub mod endure;
pub mod failure;
mod fold;
mod known_tenants;
pub mod lane;
pub mod mark;
pub mod memory;
pub mod observed;
mod pace;
pub mod page;
pub mod queries;
mod rebuild;
pub mod replay_failure;
pub mod report;
pub mod seal;
mod short;
pub mod telemetry;
mod verify;
pub mod waits;

pub use known_tenants::KnownTenants;

pub use budget::{ASK_COST, Budget, Part, READ_COST, Share};
pub use mark::{Mark, MarkReading};

pub use report::{Progress, RunReport, RunRequest, ScopeReport, VerifyOptions};

pub use alive::Validity;

use crate::telemetry::{Telemetry, signals};
use alive::Alive;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{Category, LogSeq, Projection, Refusal, catalogue};
use decisiongraph_protocol::figures::number;
use decisiongraph_store::{
    ListFilter, NewRun, Owner, Result, Run, RunMode, RunOutcome, RunState, Scope, Store, StoreError, Sweep,
};
use drive::{Ended, Job};
use mark::{MarkSource, OwnMark};
use seal::Sealing;
use short::Asked;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::Instrument as _;
use uuid::Uuid;
use waits::Waits;

/// Bounds of the engine, with units in their names, and the rule of its appends.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Events per batch.
    pub batch_events_max: usize,
    /// Bytes per batch, over all texts of its events (at least one event is taken).
    pub batch_bytes_max: usize,
    /// Length of this process's lease without renewal.
    pub lease: Duration,
    /// Longest wait for open appenders before a pass goes on with the mark it has.
    pub mark_wait: Duration,
    /// Number of a tenant's events from which a rebuild gets a partition of its own.
    pub own_partition_events: u64,
    /// Events between two digest checkpoints of a scope.
    pub checkpoint_events: u64,
    /// Rule by which an append recognizes a credential, when the request does not say.
    pub credential_guard: CredentialGuard,
    /// Bytes that this process may take; see [`Budget`].
    pub memory_max: u64,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            batch_events_max: 2_000,
            batch_bytes_max: 16 * 1024 * 1024,
            lease: Duration::from_secs(10),
            mark_wait: Duration::from_secs(10),
            own_partition_events: 20_000,
            checkpoint_events: 10_000,
            credential_guard: CredentialGuard::default(),
            memory_max: memory::memory_max(),
        }
    }
}

/// Asks a job to stop at its next batch.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Requests the stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    /// True when a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Handles to follow and stop a job.
#[derive(Clone, Default)]
pub struct Control {
    /// Cancel that stops the job between batches.
    pub cancel: Cancel,
    /// Channel that gets the job's progress.
    pub progress: Option<watch::Sender<Option<Progress>>>,
    /// Part of a verify.
    pub verify: VerifyOptions,
}

/// Most rows that one step of a sweep deletes.
const SWEEP_ROWS: u64 = 10_000;
/// Pause between two attempts to get what a dead process still holds.
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// Running jobs. The first to begin starts to renew the lease, the last to end gives it up.
#[derive(Default)]
struct Jobs {
    count: usize,
    alive: Weak<Alive>,
}

/// Runs jobs against one store on behalf of one owner.
pub struct Engine {
    store: Arc<dyn Store>,
    owner: Owner,
    config: EngineConfig,
    mark: Arc<dyn MarkSource>,
    /// Validity of the owner's lease.
    validity: Validity,
    /// Running jobs of an engine that renews the lease itself; `None` in a node, which has a lease keeper.
    jobs: Option<tokio::sync::Mutex<Jobs>>,
    telemetry: Telemetry,
    budget: Budget,
    waits: Waits,
    known_tenants: KnownTenants,
    /// Sealing of the log; none where it is off.
    sealing: Option<Arc<Sealing>>,
}

impl Engine {
    /// Creates an engine of this owner.
    pub fn new(store: Arc<dyn Store>, owner: Owner, config: EngineConfig) -> Engine {
        Engine {
            mark: Arc::new(OwnMark::new(Arc::clone(&store))),
            store,
            owner,
            budget: Budget::new(config.memory_max),
            config,
            validity: Validity::default(),
            jobs: Some(Default::default()),
            telemetry: Telemetry::default(),
            waits: Waits::default(),
            known_tenants: KnownTenants::default(),
            sealing: None,
        }
    }

    /// Creates an engine inside a node, which renews the owner's lease and knows the mark.
    pub fn of_node(
        store: Arc<dyn Store>,
        owner: Owner,
        config: EngineConfig,
        validity: Validity,
        mark: Arc<dyn MarkSource>,
    ) -> Engine {
        Engine { validity, mark, jobs: None, ..Engine::new(store, owner, config) }
    }

    /// Returns the same engine; `telemetry` records its batches and jobs.
    #[must_use]
    pub fn with_telemetry(self, telemetry: Telemetry) -> Engine {
        Engine { telemetry, ..self }
    }

    /// Returns the same engine, which seals the log, or does not.
    #[must_use]
    pub fn with_sealing(self, sealing: Option<Arc<Sealing>>) -> Engine {
        Engine { sealing, ..self }
    }

    /// Returns the sealing of the log; none where it is off.
    pub fn sealing(&self) -> Option<&Arc<Sealing>> {
        self.sealing.as_ref()
    }

    /// Lists the scopes of a tenant: its projections, and the seal where it is on.
    pub fn scopes(&self) -> &'static [&'static dyn Projection] {
        match self.sealing {
            Some(_) => &catalogue::ALL_WITH_SEAL,
            None => &catalogue::ALL,
        }
    }

    /// True inside a node, whose workers and notary do the work of the seal.
    pub fn is_of_node(&self) -> bool {
        self.jobs.is_none()
    }

    /// Returns the telemetry that records batches and jobs.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Returns the memory budget of the process, for code that works with this engine.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns the validity of the owner's lease.
    pub fn validity(&self) -> &Validity {
        &self.validity
    }

    /// Returns the queries that wait for a projection.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Returns the tenants that are known to have a log.
    pub fn known_tenants(&self) -> &KnownTenants {
        &self.known_tenants
    }

    /// Returns the owner on whose behalf the engine works.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the bounds.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Returns the safe high-water mark: nothing can still appear at or below it. Waits for open appenders, at most
    /// [`EngineConfig::mark_wait`]; then it is the best mark that is known to be safe.
    pub async fn mark(&self) -> Result<Mark> {
        Ok(self.read_mark(self.config.mark_wait).await?.mark)
    }

    /// Reads the mark and the appenders that hold up the next one, after waiting at most `wait`.
    pub async fn read_mark(&self, wait: Duration) -> Result<MarkReading> {
        self.mark.read(wait).await
    }

    /// Waits until the mark is at this position, at most so long. Returns false when it is not.
    pub async fn mark_reached(&self, position: LogSeq, wait: Duration) -> Result<bool> {
        self.mark.reached(position, wait).await
    }

    /// Runs a job to its end. Records it as a run, keeps this owner's lease alive, works through the projections, and
    /// reports the outcome. A poison event, cancel or drift is a state of the report, not an error.
    ///
    /// A rebuild that a dead process left half-way is adopted and goes on from its own position.
    pub async fn run(&self, request: &RunRequest, control: &Control) -> Result<RunReport> {
        self.run_as(Uuid::now_v7(), request, control).await
    }

    /// Runs a job as [`Engine::run`], under this id; an adopted rebuild keeps its own.
    pub async fn run_as(&self, run_id: Uuid, request: &RunRequest, control: &Control) -> Result<RunReport> {
        if request.mode == RunMode::Rebuild
            && let Some(orphan) = self.orphaned_rebuild(request).await?
        {
            return self.resume(orphan, control).await;
        }
        let control = &Control { verify: request.verify.clone(), ..control.clone() };
        if request.verify.log_only && self.store.writable().await.is_err() {
            return self.check_unrecorded(run_id, request, control).await;
        }
        let new = NewRun {
            run_id,
            tenant: request.tenant.clone(),
            projections: request.projections.iter().map(|projection| projection.name()).collect(),
            mode: request.mode,
            until: request.until,
            owner: self.owner.clone(),
            cause: request.cause.clone(),
        };
        self.alive(async || {
            // The id was drawn here: a job that exists already is this one, whose first answer was lost.
            let run = self.when_free(|| self.store.create_run(&new)).await?.into_run();
            self.execute(&run, &request.projections, false, control).await
        })
        .await
    }

    /// Goes on with an orphaned, failed or cancelled job under its old id.
    pub async fn resume(&self, run_id: Uuid, control: &Control) -> Result<RunReport> {
        let run = self.when_free(async || self.store.view().await?.run(run_id).await).await?;
        let run = run.ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no run {run_id}")))?;
        if run.state == RunState::Completed {
            return Err(StoreError::new(Category::Conflict, format!("run {run_id} is completed; start a new one")));
        }
        self.alive(async || {
            let run = self.when_free(|| self.store.adopt_run(run_id, &self.owner)).await?;
            let projections = projections_of(&run)?;
            self.execute(&run, &projections, true, control).await
        })
        .await
    }

    /// Deletes what retired generations left, in bounded chunks, until nothing can be deleted now.
    pub async fn sweep(&self) -> Result<Sweep> {
        let mut total = Sweep::default();
        loop {
            let step = self.store.sweep(SWEEP_ROWS).await?;
            total.rows += step.rows;
            total.generations += step.generations;
            total.left = step.left;
            if step.rows == 0 && step.generations == 0 {
                return Ok(total);
            }
        }
    }

    /// Holds this owner's lease while `work` runs.
    async fn alive<T>(&self, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let Some(jobs) = &self.jobs else { return work().await };
        let begun = {
            let mut jobs = jobs.lock().await;
            jobs.count += 1;
            match jobs.alive.upgrade() {
                Some(alive) => Ok(alive),
                None => {
                    let (lease, validity) = (self.config.lease, &self.validity);
                    let start = || Alive::start(Arc::clone(&self.store), self.owner.clone(), lease, validity.clone());
                    let alive = self.when_free(start).await.map(Arc::new);
                    jobs.alive = alive.as_ref().map(Arc::downgrade).unwrap_or_default();
                    alive
                }
            }
        };
        let (done, alive) = match begun {
            Ok(alive) => (work().await, Some(alive)),
            Err(error) => (Err(error), None),
        };
        let mut jobs = jobs.lock().await;
        jobs.count -= 1;
        if let Some(alive) = alive.and_then(Arc::into_inner) {
            alive.stop().await;
        }
        if jobs.count == 0 {
            self.validity.end();
            if let Err(error) = self.store.leave(&self.owner).await {
                // What is held is free again when the lease is over; the job's own outcome matters more.
                tracing::warn!(category = %error.category, "could not give up the lease: {}", error.message);
            }
        }
        done
    }

    /// Tries again while what the call needs is held by a process that may be dead. Also tries again after a fault that
    /// may pass. Examples are a deadlock between two jobs that start at once, and a lost connection. Lasts at most one
    /// lease.
    async fn when_free<T, F>(&self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let deadline = Instant::now() + self.config.lease + HELD_PAUSE;
        let mut told = false;
        loop {
            match call().await {
                Err(error)
                    if (error.category == Category::Conflict || error.transient) && Instant::now() < deadline =>
                {
                    if error.category == Category::Conflict && self.bury().await {
                        continue;
                    }
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(
                            "{}; waiting at most {:?} in case its process is gone",
                            error.message,
                            self.config.lease
                        );
                    }
                    tokio::time::sleep(HELD_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Ends the leases of processes of this machine that are known to be gone. True when there were some.
    async fn bury(&self) -> bool {
        match self.store.end_leases_of_the_dead().await {
            Ok(dead) => {
                for owner in &dead {
                    tracing::info!(node = owner.node, "a process of this machine is gone; its lease is ended");
                }
                !dead.is_empty()
            }
            // Then the caller waits until the lease is over.
            Err(error) => {
                tracing::debug!(category = %error.category, "cannot tell which processes are gone: {}", error.message);
                false
            }
        }
    }

    /// Finds a rebuild of the same projections that says `running` and whose process is gone. Waits for a lease that
    /// may belong to a dead process.
    async fn orphaned_rebuild(&self, request: &RunRequest) -> Result<Option<Uuid>> {
        let filter =
            ListFilter { tenant: Some(request.tenant.clone()), open_only: true, limit: 100, ..ListFilter::default() };
        let deadline = Instant::now() + self.config.lease + HELD_PAUSE;
        loop {
            let runs = self.when_free(async || self.store.view().await?.runs(&filter).await).await?.items;
            let same = runs.into_iter().find(|run| {
                run.mode == RunMode::Rebuild
                    && run.state == RunState::Running
                    && projections_of(run).is_ok_and(|projections| same_names(&projections, &request.projections))
            });
            match same {
                Some(run) if !run.node_live => return Ok(Some(run.run_id)),
                Some(_) if self.bury().await => {}
                Some(_) if Instant::now() < deadline => tokio::time::sleep(HELD_PAUSE).await,
                _ => return Ok(None),
            }
        }
    }

    /// Retires what earlier rebuilds of these scopes left unfinished: this run starts anew.
    pub async fn abandon_older_builds(&self, run: &Run, projections: &[&'static dyn Projection]) -> Result<()> {
        let filter = ListFilter { tenant: Some(run.tenant.clone()), limit: 100, ..ListFilter::default() };
        for older in self.store.view().await?.runs(&filter).await?.items {
            if older.mode != RunMode::Rebuild || older.state != RunState::Failed {
                continue;
            }
            for projection in projections {
                self.store.abandon_build(&Scope::new(&run.tenant, *projection), older.run_id).await?;
            }
        }
        Ok(())
    }

    /// Carries out a recorded job through faults that pass.
    async fn execute(
        &self,
        run: &Run,
        projections: &[&'static dyn Projection],
        resume: bool,
        control: &Control,
    ) -> Result<RunReport> {
        let abandons = !resume && run.mode == RunMode::Rebuild;
        let mut job = endure::Alone { job: Job::new(self, run, control), projections, abandons };
        endure::endure(self, run.clone(), resume, control, &mut job).await
    }

    /// Marks a job as failed after an error that it cannot get over.
    pub async fn give_up(&self, run: &Run, error: &StoreError) {
        let outcome = RunOutcome::Failed(Refusal::new(error.category, error.message.clone()));
        if let Err(second) = self.store.finish_run(run.run_id, &self.owner, outcome).await {
            tracing::warn!(category = %second.category, "the end of run {} is not recorded: {}", run.run_id, second.message);
        }
    }

    /// Carries out a recorded job. After an error its row still says `running`: it can be adopted and resumed, or given
    /// up.
    pub async fn carry_out(
        &self,
        job: &mut Job<'_>,
        run: &Run,
        projections: &[&'static dyn Projection],
        resume: bool,
    ) -> Result<RunReport> {
        job.events = job.events.max(u64::try_from(run.events).unwrap_or(0));
        let span = signals::job_span(&run.tenant, run.run_id, run.mode.as_str());
        let started = Instant::now();
        let work = async {
            let asked = self.asked(run, projections).await?;
            let (ended, scopes) = match run.mode {
                RunMode::Verify => self.verify(job, projections, asked.nothing).await?,
                _ if asked.nothing => (Ended::Reached, Vec::new()),
                RunMode::CatchUp => self.catch_up(job, projections, run.until).await?,
                RunMode::Rebuild => rebuild::rebuild(job, projections, resume, || self.mark()).await?,
            };
            self.conclude(run, projections, job, &asked, ended, scopes).await
        };
        let done = work.instrument(span.clone()).await;
        observed::job_ended(&self.telemetry, &span, run.mode, &done, started.elapsed());
        done
    }

    /// Records the outcome of a job.
    pub async fn conclude(
        &self,
        run: &Run,
        projections: &[&'static dyn Projection],
        job: &Job<'_>,
        asked: &Asked,
        ended: Ended,
        scopes: Vec<ScopeReport>,
    ) -> Result<RunReport> {
        let store = &*self.store;
        if let Some(last) = scopes.last()
            && let Some(projection) = catalogue::find(&last.projection)
        {
            job.tell(projection.name(), last.cursor, last.target).await?;
        }
        let outcome = match (ended, scopes.iter().find_map(|scope| scope.failure.as_ref())) {
            (Ended::Cancelled, _) => RunOutcome::Cancelled,
            (Ended::Reached, Some(failure)) => RunOutcome::Failed(Refusal::new(
                failure.category,
                format!(
                    "{} stopped at log_seq {} (event {}): {}",
                    failure.projection,
                    number(failure.log_seq.0),
                    failure.event_id,
                    failure.message
                ),
            )),
            (Ended::Reached, None) if job.is_about_log() => {
                RunOutcome::Completed(report::recording(&scopes, job.log.as_ref()))
            }
            (Ended::Reached, None) => match self.short(asked, run, projections, &scopes).await? {
                Some(short) => RunOutcome::Failed(short),
                None => RunOutcome::Completed(report::recording(&scopes, job.log.as_ref())),
            },
        };
        if run.mode == RunMode::Rebuild && outcome == RunOutcome::Cancelled {
            for projection in projections {
                store.abandon_build(&Scope::new(&run.tenant, *projection), run.run_id).await?;
            }
        }
        if run.mode == RunMode::Verify {
            // The comparison's result is known, whatever became of the rest.
            store.note_compared(run.run_id, &self.owner, &report::compared(&scopes)).await?;
        }
        let run = store.finish_run(run.run_id, &self.owner, outcome).await?;
        if run.mode == RunMode::Rebuild
            && let Err(error) = self.sweep().await
        {
            // The job is done; rows that are left are swept with the next one.
            tracing::warn!(category = %error.category, "retired rows are not swept yet: {}", error.message);
        }
        Ok(RunReport { run, scopes, log: job.log.clone() })
    }
}

/// Lists the projections that a run covers.
pub fn projections_of(run: &Run) -> Result<Vec<&'static dyn Projection>> {
    if run.projection == "all" {
        return Ok(catalogue::ALL.to_vec());
    }
    catalogue::find(&run.projection).map(|projection| vec![projection]).ok_or_else(|| {
        StoreError::new(
            Category::VersionMismatch,
            format!("run {} is for `{}`, which this program does not have", run.run_id, run.projection),
        )
    })
}

fn same_names(a: &[&'static dyn Projection], b: &[&'static dyn Projection]) -> bool {
    a.iter().map(|projection| projection.name()).eq(b.iter().map(|projection| projection.name()))
}
