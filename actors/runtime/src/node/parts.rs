//! Parts of a node, made before its actors start: the board, the signals, and what the actors work with.
//!
//! *Guarantees.* Only the tree, the answers and the watch of this node know all parts. An actor gets the parts that it
//! uses ([`super::tree`]).

use super::watch::counted_table;
use super::{Identity, NodeBounds, tree};
use crate::board::{Board, Jitter, SealBoard};
use crate::children::Children;
use crate::cluster::{LinkParts, LinkSettings, LinkedJournals, Links};
use crate::jobs::{JobParts, JobRegistry};
use crate::node_mark::NodeMark;
use crate::signals::Signals;
use crate::tenants::{Tenants, TenantsParts, WorkerParts};
use decisiongraph_engine::seal::Sealing;
use decisiongraph_engine::telemetry::Telemetry;
use decisiongraph_engine::{Engine, EngineConfig};
use decisiongraph_rpc::Listeners;
use decisiongraph_rpc::wire::Versions;
use decisiongraph_store::{MemberFacts, Owner, Store};
use decisiongraph_supervision::ActorTable;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Facts and settings with which a node starts.
pub struct NodeSettings {
    /// The database. It need not be there yet.
    pub store: Arc<dyn Store>,
    /// Identities of this life and of the life before it.
    pub identity: Identity,
    /// Bounds of the engine.
    pub engine: EngineConfig,
    /// Pauses and limits.
    pub bounds: NodeBounds,
    /// Record of the node's work.
    pub telemetry: Telemetry,
    /// Versions that the node speaks with programs and other nodes.
    pub versions: Versions,
    /// Address at which other nodes reach this node.
    pub address: Option<String>,
    /// Settings of the links to other nodes; none when this node links to no others.
    pub links: Option<LinkSettings>,
    /// Listeners for operators; none when operators do not reach the node.
    pub listeners: Option<Arc<Listeners>>,
    /// Sealing of the log; none where it is off.
    pub sealing: Option<Arc<Sealing>>,
}

impl NodeSettings {
    /// Returns the settings of a node that is alone and has no listeners. Everything else is as in production.
    pub fn new(store: Arc<dyn Store>, identity: Identity) -> NodeSettings {
        NodeSettings {
            store,
            identity,
            engine: EngineConfig::default(),
            bounds: NodeBounds::default(),
            telemetry: Telemetry::default(),
            versions: Versions::ours(),
            address: None,
            links: None,
            listeners: None,
            sealing: None,
        }
    }
}

/// Parts of a node. Cheap to clone; every clone has the same parts.
#[derive(Clone)]
pub struct NodeParts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Identity of this node in this life.
    pub owner: Owner,
    /// Identity of this node in its last life, which is dead for certain.
    pub former: Option<Owner>,
    /// Facts that this node tells the others about itself.
    pub facts: MemberFacts,
    /// Versions that the node speaks with programs and other nodes.
    pub versions: Versions,
    /// Engine for jobs and queries.
    pub engine: Arc<Engine>,
    /// Pauses and limits.
    pub bounds: NodeBounds,
    /// Published states.
    pub board: Board,
    /// Requests to have a look.
    pub signals: Signals,
    /// Tenants whose actors run.
    pub tenants: Tenants,
    /// Jobs of this node, and the parts that they use.
    pub jobs: Arc<JobParts>,
    /// Links to other nodes.
    pub links: Links,
    /// Spread of the pauses.
    pub jitter: Jitter,
    /// Listeners for operators.
    pub listeners: Option<Arc<Listeners>>,
    /// Every actor, for the dump.
    pub table: ActorTable,
    /// Time at which the node was started.
    pub started: Instant,
}

impl NodeParts {
    /// Makes the parts of a node that is about to start.
    pub fn new(settings: NodeSettings) -> NodeParts {
        let NodeSettings { store, identity, engine, bounds, telemetry, versions, address, links, listeners, sealing } =
            settings;
        let Identity { owner, former } = identity;
        let board = Board { seal: SealBoard::of(sealing.clone()), ..Board::default() };
        let signals = Signals::default();
        let table = counted_table(&telemetry);
        let jitter = Jitter::new(owner.incarnation.as_u128() as u64);
        let mark = NodeMark { store: Arc::clone(&store), mark: board.mark.subscribe(), old: signals.mark.clone() };
        let (validity, mark) = (board.validity.clone(), Arc::new(mark));
        let engine = Engine::of_node(Arc::clone(&store), owner.clone(), engine, validity, mark);
        let engine = Arc::new(engine.with_telemetry(telemetry).with_sealing(sealing));
        let facts = MemberFacts {
            address: address.clone(),
            program: versions.program.clone(),
            protocol: i32::try_from(versions.protocol).unwrap_or(i32::MAX),
        };
        let workers = Arc::new(WorkerParts {
            engine: Arc::clone(&engine),
            database: board.database.clone(),
            mark: board.mark.subscribe(),
            mark_void: signals.mark.clone(),
            turns: Semaphore::new(bounds.batches_max.max(1)),
            retry: bounds.retry,
            recheck: bounds.recheck,
            jitter: jitter.clone(),
        });
        let tenants = Tenants::new(TenantsParts {
            node: owner.node.clone(),
            scopes: engine.scopes(),
            tenants_max: bounds.tenants_max,
            mark: board.mark.subscribe(),
            placement: board.placement.clone(),
            unplaced: signals.unplaced.clone(),
            spec: Box::new({
                let (drain, passivate_after) = (bounds.drain, bounds.passivate_after);
                move |tenants, cell| tree::tenant_spec(tenants, &workers, cell, drain, passivate_after)
            }),
        });
        engine.waits().know(tenants.ours());
        let links = Links::new(LinkParts {
            owner: owner.clone(),
            versions: versions.clone(),
            address,
            settings: links,
            members: board.members.subscribe(),
            jitter: jitter.clone(),
            spec: tree::link_spec,
        });
        if let Some(sealing) = engine.sealing().filter(|_| links.are_open()) {
            sealing.link(Arc::new(LinkedJournals(links.clone())));
        }
        let jobs = Arc::new(JobParts {
            engine: Arc::clone(&engine),
            database: board.database.clone(),
            draining: board.draining.clone(),
            tenants: tenants.clone(),
            links: links.clone(),
            registry: Arc::new(JobRegistry::default()),
            children: Children::default(),
            lost: signals.jobs.clone(),
            retry: bounds.retry,
            adopt: bounds.adopt,
            crashes_max: bounds.job_crashes_max,
            jitter: jitter.clone(),
            placement: board.placement.clone(),
            verify_every: bounds.verify_every,
            verify_rows_per_s: bounds.verify_rows_per_s,
            spec: tree::job_spec,
        });
        NodeParts {
            store,
            owner,
            former,
            facts,
            versions,
            engine,
            bounds,
            board,
            signals,
            tenants,
            jobs,
            links,
            jitter,
            listeners,
            table,
            started: Instant::now(),
        }
    }

    /// Returns the telemetry that the node reports to.
    pub fn telemetry(&self) -> &Telemetry {
        self.engine.telemetry()
    }
}
