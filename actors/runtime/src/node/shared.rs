//! Handles and published states that the actors of a node share; none of them is the truth.
//!
//! Each published state has one writer (named at its field). Everything durable is in the database; an actor that dies
//! loses nothing that is only here.

use super::watch::counted_table;
use super::{Identity, NodeBounds};
use crate::cluster::{ClusterMessage, Links, Places};
use crate::database_probe::Database;
use crate::high_water::{HighWaterMessage, MarkState};
use crate::jobs::{JobBoard, ReplayMessage};
use crate::lease_keeper::Unrenewed;
use crate::tenants::Scopes;
use decisiongraph_engine::telemetry::Telemetry;
use decisiongraph_engine::{Engine, EngineConfig, Trust};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_store::{Member, MemberFacts, Owner, Store};
use decisiongraph_supervision::{ActorTable, SupervisorRef};
use ractor::ActorRef;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// A task that ends when its guard is dropped.
pub struct Guard(AbortHandle);

impl<T> From<JoinHandle<T>> for Guard {
    fn from(task: JoinHandle<T>) -> Guard {
        Guard(task.abort_handle())
    }
}

impl<T> From<&JoinHandle<T>> for Guard {
    fn from(task: &JoinHandle<T>) -> Guard {
        Guard(task.abort_handle())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Handles of a node. Cheap to clone.
#[derive(Clone)]
pub struct Shared(Arc<Handles>);

impl Deref for Shared {
    type Target = Handles;
    fn deref(&self) -> &Handles {
        &self.0
    }
}

/// See [`Shared`].
pub struct Handles {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Identity of this node in this life.
    pub owner: Owner,
    /// Identity of this node in its last life, which is dead for certain.
    pub former: Option<Owner>,
    /// Engine for jobs and queries.
    pub engine: Engine,
    /// Pauses and limits.
    pub bounds: NodeBounds,
    /// State of the database: it answers, or not. Written by the store pool.
    pub database: Database,
    /// Trust window of this node's lease. Written by the lease keeper.
    pub trust: Trust,
    /// Reason why the lease is not renewed; none while it is. Written by the lease keeper.
    pub unrenewed: watch::Sender<Option<Unrenewed>>,
    /// End of the log. Written by the high-water actor.
    pub mark: watch::Sender<MarkState>,
    /// Members of the cluster. Written by the cluster actor.
    pub members: watch::Sender<Vec<Member>>,
    /// Node of each tenant. Written by the cluster actor.
    pub places: Places,
    /// Links to other nodes. Written by their actors.
    pub links: Links,
    /// Tenants whose actors run.
    pub scopes: Scopes,
    /// Jobs of this node.
    pub jobs: JobBoard,
    /// Turns to do a batch, one per batch under way.
    pub turns: Semaphore,
    /// Every actor, for the dump.
    pub table: ActorTable,
    /// Time at which the node was started.
    pub started: Instant,
    /// Address at which other nodes reach this node.
    address: OnceLock<String>,
    cluster: Mutex<Option<ActorRef<ClusterMessage>>>,
    /// Versions that the node speaks with programs and other nodes.
    versions: OnceLock<Versions>,
    high_water: Mutex<Option<ActorRef<HighWaterMessage>>>,
    replay: Mutex<Option<ActorRef<ReplayMessage>>>,
    job_supervisor: Mutex<Option<SupervisorRef>>,
    draining: AtomicBool,
    dice: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Shared {
    /// Makes the handles of a node that is about to start.
    pub fn new(store: Arc<dyn Store>, identity: Identity, config: EngineConfig, bounds: NodeBounds) -> Shared {
        Shared::observed(store, identity, config, bounds, Telemetry::default())
    }

    /// Makes the handles of a node that reports its work to `telemetry`.
    pub fn observed(
        store: Arc<dyn Store>,
        identity: Identity,
        config: EngineConfig,
        bounds: NodeBounds,
        telemetry: Telemetry,
    ) -> Shared {
        let Identity { owner, former } = identity;
        let trust = Trust::default();
        Shared(Arc::new(Handles {
            table: counted_table(&telemetry),
            engine: Engine::of_node(Arc::clone(&store), owner.clone(), config, trust.clone()).with_telemetry(telemetry),
            turns: Semaphore::new(bounds.batches_max.max(1)),
            dice: AtomicU64::new(owner.incarnation.as_u128() as u64),
            store,
            owner,
            former,
            bounds,
            database: Database::default(),
            trust,
            unrenewed: watch::Sender::new(None),
            mark: watch::Sender::new(MarkState::default()),
            members: watch::Sender::new(Vec::new()),
            places: Places::default(),
            links: Links::default(),
            scopes: Scopes::default(),
            jobs: JobBoard::default(),
            started: Instant::now(),
            address: OnceLock::new(),
            cluster: Mutex::default(),
            versions: OnceLock::new(),
            high_water: Mutex::default(),
            replay: Mutex::default(),
            job_supervisor: Mutex::default(),
            draining: AtomicBool::new(false),
        }))
    }
}

impl Handles {
    /// Returns the telemetry that the node reports to.
    pub fn telemetry(&self) -> &Telemetry {
        self.engine.telemetry()
    }

    /// Returns the versions that this node speaks with programs and other nodes.
    pub fn versions(&self) -> &Versions {
        self.versions.get_or_init(Versions::ours)
    }

    /// Speaks as another release would. Call it before the node starts.
    pub fn speak(&self, versions: Versions) {
        let _ = self.versions.set(versions);
    }

    /// Draws a number that spreads pauses; not for secrets.
    pub fn jitter(&self) -> u64 {
        // SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
        let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Notes that the node stops: no job is started or brought back.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// True when the node stops.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Sets the address at which other nodes reach this node, for as long as the node lives.
    pub fn advertise(&self, address: String) {
        let _ = self.address.set(address);
    }

    /// Collects the facts that this node tells the others about itself.
    pub fn facts(&self) -> MemberFacts {
        MemberFacts {
            address: self.address.get().cloned(),
            program: self.versions().program.clone(),
            protocol: i32::try_from(self.versions().protocol).unwrap_or(i32::MAX),
        }
    }

    /// Notes the cluster actor.
    pub fn set_cluster(&self, actor: ActorRef<ClusterMessage>) {
        *lock(&self.cluster) = Some(actor);
    }

    /// Has the cluster actor check the members: they may have changed.
    pub fn poke_cluster(&self) {
        if let Some(actor) = lock(&self.cluster).as_ref() {
            let _ = actor.cast(ClusterMessage::Look);
        }
    }

    /// Tells the cluster actor that this node holds its lease again, or for the first time.
    pub fn joined(&self) {
        if let Some(actor) = lock(&self.cluster).as_ref() {
            let _ = actor.cast(ClusterMessage::Joined);
        }
    }

    /// Has the cluster actor place the tenants that the placement does not know.
    pub fn place_tenants(&self) {
        if let Some(actor) = lock(&self.cluster).as_ref() {
            let _ = actor.cast(ClusterMessage::Place);
        }
    }

    /// Notes the high-water actor.
    pub fn set_high_water(&self, actor: ActorRef<HighWaterMessage>) {
        *lock(&self.high_water) = Some(actor);
    }

    /// Has the high-water actor find the tenants that are behind: perhaps no actor here knows of them.
    pub fn find_behind(&self) {
        if let Some(actor) = lock(&self.high_water).as_ref() {
            let _ = actor.cast(HighWaterMessage::Sweep);
        }
    }

    /// Has the high-water actor sample the log's end: the known mark may be void.
    pub fn sample_mark(&self) {
        if let Some(actor) = lock(&self.high_water).as_ref() {
            let _ = actor.cast(HighWaterMessage::Sample);
        }
    }

    /// Notes the replay coordinator.
    pub fn set_replay(&self, actor: ActorRef<ReplayMessage>) {
        *lock(&self.replay) = Some(actor);
    }

    /// Returns the replay coordinator.
    pub fn replay(&self) -> Option<ActorRef<ReplayMessage>> {
        lock(&self.replay).clone()
    }

    /// Tells the replay coordinator that a job's actor is gone.
    pub fn poke_replay(&self) {
        if let Some(actor) = lock(&self.replay).as_ref() {
            let _ = actor.cast(ReplayMessage::Check);
        }
    }

    /// Notes the supervisor of jobs.
    pub fn set_job_supervisor(&self, supervisor: SupervisorRef) {
        *lock(&self.job_supervisor) = Some(supervisor);
    }

    /// Returns the supervisor of jobs.
    pub fn job_supervisor(&self) -> Option<SupervisorRef> {
        lock(&self.job_supervisor).clone()
    }
}
