//! What the actors of a node share: handles, published states, and nothing that is the truth.
//!
//! Each published state has one writer (named at its field). Everything durable is in the database; an actor that dies loses nothing
//! that is only here.

use super::watch::counted_table;
use super::{Identity, NodeBounds};
use crate::cluster::{ClusterMessage, Links, Places};
use crate::high_water::{HighWaterMessage, MarkState};
use crate::lease_keeper::Unrenewed;
use crate::replay::{JobBoard, ReplayMessage};
use crate::scopes::Scopes;
use crate::store_pool::Database;
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

/// A task that ends with whoever holds this.
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

/// The handles of a node. Cheap to clone.
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
    /// Who this node is, in this life.
    pub owner: Owner,
    /// Who it was in its last life: dead for certain.
    pub former: Option<Owner>,
    /// Jobs and queries.
    pub engine: Engine,
    /// Paces.
    pub bounds: NodeBounds,
    /// Whether the database answers. Written by the store pool.
    pub database: Database,
    /// Until when this node's lease may be believed in. Written by the lease keeper.
    pub trust: Trust,
    /// Why the lease is not renewed; none while it is. Written by the lease keeper.
    pub unrenewed: watch::Sender<Option<Unrenewed>>,
    /// The end of the log. Written by the high-water actor.
    pub mark: watch::Sender<MarkState>,
    /// Who the members of the cluster are. Written by the cluster actor.
    pub members: watch::Sender<Vec<Member>>,
    /// Whose a tenant is. Written by the cluster actor.
    pub places: Places,
    /// The links to other nodes. Written by their actors.
    pub links: Links,
    /// The tenants whose actors run.
    pub scopes: Scopes,
    /// The jobs.
    pub jobs: JobBoard,
    /// Turns to do a batch.
    pub turns: Semaphore,
    /// Every actor, for the dump.
    pub table: ActorTable,
    /// When the node was started.
    pub started: Instant,
    /// Where other nodes reach this one.
    address: OnceLock<String>,
    cluster: Mutex<Option<ActorRef<ClusterMessage>>>,
    /// What it speaks with programs and other nodes.
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
    /// The handles of a node that is about to start.
    pub fn new(store: Arc<dyn Store>, identity: Identity, config: EngineConfig, bounds: NodeBounds) -> Shared {
        Shared::observed(store, identity, config, bounds, Telemetry::default())
    }

    /// The handles of a node whose work `telemetry` is told of.
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
    /// Who is told of what happens.
    pub fn telemetry(&self) -> &Telemetry {
        self.engine.telemetry()
    }

    /// What this node speaks with programs and other nodes.
    pub fn versions(&self) -> &Versions {
        self.versions.get_or_init(Versions::ours)
    }

    /// Speaks as another release would. To be said before the node starts.
    pub fn speak(&self, versions: Versions) {
        let _ = self.versions.set(versions);
    }

    /// A number that spreads pauses; not for secrets.
    pub fn jitter(&self) -> u64 {
        // SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
        let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The node stops: no job is started or brought back.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the node stops.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Where other nodes reach this one, for as long as it lives.
    pub fn advertise(&self, address: String) {
        let _ = self.address.set(address);
    }

    /// What this node says of itself to the others.
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

    /// The members may have changed: have a look.
    pub fn poke_cluster(&self) {
        if let Some(actor) = lock(&self.cluster).as_ref() {
            let _ = actor.cast(ClusterMessage::Look);
        }
    }

    /// This node holds its lease again, or for the first time.
    pub fn joined(&self) {
        if let Some(actor) = lock(&self.cluster).as_ref() {
            let _ = actor.cast(ClusterMessage::Joined);
        }
    }

    /// Has the tenants placed that the placement does not know.
    pub fn place_tenants(&self) {
        if let Some(actor) = lock(&self.cluster).as_ref() {
            let _ = actor.cast(ClusterMessage::Place);
        }
    }

    /// Notes the high-water actor.
    pub fn set_high_water(&self, actor: ActorRef<HighWaterMessage>) {
        *lock(&self.high_water) = Some(actor);
    }

    /// Has the tenants that are behind found: those who knew of them are gone.
    pub fn find_behind(&self) {
        if let Some(actor) = lock(&self.high_water).as_ref() {
            let _ = actor.cast(HighWaterMessage::Sweep);
        }
    }

    /// Has the log's end looked at: the mark that is known may be void.
    pub fn sample_mark(&self) {
        if let Some(actor) = lock(&self.high_water).as_ref() {
            let _ = actor.cast(HighWaterMessage::Sample);
        }
    }

    /// Notes the replay coordinator.
    pub fn set_replay(&self, actor: ActorRef<ReplayMessage>) {
        *lock(&self.replay) = Some(actor);
    }

    /// The replay coordinator.
    pub fn replay(&self) -> Option<ActorRef<ReplayMessage>> {
        lock(&self.replay).clone()
    }

    /// A job's actor is gone.
    pub fn poke_replay(&self) {
        if let Some(actor) = lock(&self.replay).as_ref() {
            let _ = actor.cast(ReplayMessage::Check);
        }
    }

    /// Notes the supervisor of jobs.
    pub fn set_job_supervisor(&self, supervisor: SupervisorRef) {
        *lock(&self.job_supervisor) = Some(supervisor);
    }

    /// The supervisor of jobs.
    pub fn job_supervisor(&self) -> Option<SupervisorRef> {
        lock(&self.job_supervisor).clone()
    }
}
