//! The supervision tree of a node, as data on one screen.
//!
//! ```text
//!   node (rest_for_one)
//!   ├─ store_pool, cluster, admin, high_water, lease_keeper
//!   ├─ seal (one_for_one) ── notary, scrubber                     where the log is sealed only
//!   ├─ scopes (one_for_one, dynamic)
//!   │   └─ tenant ID (one_for_all)
//!   │       ├─ coordinator
//!   │       └─ workers (one_for_one) ── worker context_graph, worker trace_summary, worker precedent_index
//!   ├─ replay (one_for_one)
//!   │   ├─ replay_coordinator
//!   │   └─ jobs (one_for_one, dynamic) ── job ID
//!   └─ links (one_for_one, dynamic) ── link NODE        with `cluster_listen` only
//! ```
//!
//! Each child depends on the children above it (rest_for_one). The admin server is above the work, so that it answers
//! whatever happens below it. The links to other nodes come last: nothing depends on them.
//!
//! This file alone knows all actors. It hands each actor the parts that it uses.

use super::{NodeAnswers, NodeParts};
use crate::cluster::{Cluster, ClusterParts, Line, LinkActor, Links, link_id};
use crate::database_probe::DatabaseProbe;
use crate::high_water::HighWaterActor;
use crate::jobs::{Job, JobParts, ReplayCoordinator, ReplayMessage, job_id};
use crate::lease_keeper::LeaseKeeper;
use crate::notary::Notary;
use crate::scrubber::ScrubberActor;
use crate::tenants::{Coordinator, TenantCell, Tenants, Worker, WorkerParts, tenant_id, worker_id};
use decisiongraph_engine::seal::Sealing;
use decisiongraph_projections::Projection;
use decisiongraph_rpc::{AdminServer, AdminServerArguments, Listeners};
use decisiongraph_store::Run;
use decisiongraph_supervision::{
    ActorTable, Backoff, ChildSpec, Intensity, Restart, Shutdown, StartFn, Strategy, SupervisorRef, SupervisorSpec,
    Vitals, start_actor,
};
use ractor::{Actor, ActorRef};
use std::sync::Arc;
use std::time::Duration;

/// Restarts that each supervisor allows. Expected faults are states and never count; defects and kills count.
const NODE: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(60) };
const SEAL: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(60) };
const SCOPES: Intensity = Intensity { restarts_max: 100, period: Duration::from_secs(60) };
const TENANT: Intensity = Intensity { restarts_max: 5, period: Duration::from_secs(30) };
const WORKERS: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(30) };
const REPLAY: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(60) };
/// A job has a bound of its own (`job_crashes_max`), which a storm in one job reaches long before this one.
const JOBS: Intensity = Intensity { restarts_max: 10_000, period: Duration::from_secs(60) };
const LINKS: Intensity = Intensity { restarts_max: 100, period: Duration::from_secs(60) };
/// Pause between a defect and the restart.
const BACKOFF: Option<Backoff> = Some(Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(2) });

/// Time that a job or a link has to end.
const ENDING: Shutdown = Shutdown::Timeout(Duration::from_secs(1));

/// Specifies the whole node.
pub fn node_spec(parts: &NodeParts) -> SupervisorSpec {
    let mut children = vec![
        ChildSpec::worker("store_pool", actor(parts, database_probe)),
        ChildSpec::worker("cluster", actor(parts, cluster)),
    ];
    children.extend(parts.listeners.as_ref().map(|listeners| ChildSpec::worker("admin", admin(parts, listeners))));
    children.extend([
        ChildSpec::worker("high_water", actor(parts, high_water)),
        ChildSpec::worker("lease_keeper", actor(parts, lease_keeper)),
    ]);
    children.extend(parts.engine.sealing().map(|sealing| ChildSpec::supervisor("seal", seal_spec(parts, sealing))));
    children.extend([
        dynamic("scopes", SCOPES, parts, |parts, supervisor| {
            parts.tenants.attach(supervisor);
            parts.signals.behind.send();
        }),
        ChildSpec::supervisor("replay", replay_spec(parts)),
    ]);
    if parts.links.are_open() {
        children.push(dynamic("links", LINKS, parts, |parts, supervisor| parts.links.attach(supervisor)));
    }
    SupervisorSpec { strategy: Strategy::RestForOne, intensity: NODE, backoff: BACKOFF, children }
}

/// Specifies the actors of the seal. They are above the tenants: a stop signs what the workers committed.
fn seal_spec(parts: &NodeParts, sealing: &Arc<Sealing>) -> SupervisorSpec {
    let notary = start_actor({
        let (parts, sealing) = (parts.clone(), Arc::clone(sealing));
        move |vitals| (notary(&parts, &sealing, vitals), ())
    });
    let scrubber = start_actor({
        let (parts, sealing) = (parts.clone(), Arc::clone(sealing));
        move |vitals| (scrubber(&parts, &sealing, vitals), ())
    });
    SupervisorSpec {
        strategy: Strategy::OneForOne,
        intensity: SEAL,
        backoff: BACKOFF,
        children: vec![ChildSpec::worker("notary", notary), ChildSpec::worker("scrubber", scrubber)],
    }
}

fn replay_spec(parts: &NodeParts) -> SupervisorSpec {
    SupervisorSpec {
        strategy: Strategy::OneForOne,
        intensity: REPLAY,
        backoff: BACKOFF,
        children: vec![
            ChildSpec::worker("replay_coordinator", actor(parts, replay_coordinator)),
            dynamic("jobs", JOBS, parts, |parts, supervisor| {
                parts.jobs.children.attach(supervisor);
                parts.jobs.registry.lost_all();
                parts.signals.jobs.send();
            }),
        ],
    }
}

/// Specifies a tenant's actors. A worker has the time `drain` to finish its batch.
pub fn tenant_spec(
    tenants: &Tenants,
    parts: &Arc<WorkerParts>,
    cell: &Arc<TenantCell>,
    drain: Duration,
    passivate_after: Duration,
) -> ChildSpec {
    let workers = SupervisorSpec {
        strategy: Strategy::OneForOne,
        intensity: WORKERS,
        backoff: BACKOFF,
        children: cell.scopes.iter().map(|projection| worker_spec(parts, cell, *projection, drain)).collect(),
    };
    let coordinator = start_actor({
        let (tenants, cell) = (tenants.clone(), Arc::clone(cell));
        move |vitals| (Coordinator { tenants: tenants.clone(), cell: Arc::clone(&cell), passivate_after, vitals }, ())
    });
    let tenant = SupervisorSpec {
        strategy: Strategy::OneForAll,
        intensity: TENANT,
        backoff: BACKOFF,
        children: vec![ChildSpec::worker("coordinator", coordinator), ChildSpec::supervisor("workers", workers)],
    };
    ChildSpec::supervisor(tenant_id(&cell.tenant), tenant)
}

fn worker_spec(
    parts: &Arc<WorkerParts>,
    cell: &Arc<TenantCell>,
    projection: &'static dyn Projection,
    drain: Duration,
) -> ChildSpec {
    let (parts, cell) = (Arc::clone(parts), Arc::clone(cell));
    let start = start_actor(move |vitals| {
        (Worker { parts: Arc::clone(&parts), cell: Arc::clone(&cell), projection, vitals }, ())
    });
    // Transient: a worker that gave its scope up (a normal exit) stays away until it is wanted again.
    ChildSpec::worker(worker_id(projection), start).restart(Restart::Transient).shutdown(Shutdown::Timeout(drain))
}

/// Specifies a job's child. Transient: it is started again until it has ended well.
pub fn job_spec(parts: &Arc<JobParts>, run: &Run, resume: bool) -> ChildSpec {
    let (id, parts, run) = (job_id(run.run_id), Arc::clone(parts), run.clone());
    let start = start_actor(move |vitals| (Job { parts: Arc::clone(&parts), run: run.clone(), resume, vitals }, ()));
    ChildSpec::worker(id, start).restart(Restart::Transient).shutdown(ENDING)
}

/// Specifies the child that keeps a link.
pub fn link_spec(links: &Links, line: &Arc<Line>) -> ChildSpec {
    let (id, links, line) = (link_id(line.peer.label()), links.clone(), Arc::clone(line));
    let start = start_actor(move |vitals| (LinkActor(links.clone(), Arc::clone(&line), vitals), ()));
    ChildSpec::worker(id, start).restart(Restart::Permanent).shutdown(ENDING)
}

/// Finds the actor that starts jobs, while it runs.
pub fn jobs_actor(table: &ActorTable) -> Option<ActorRef<ReplayMessage>> {
    table.cell("node/replay/replay_coordinator").map(ActorRef::from)
}

fn database_probe(parts: &NodeParts, vitals: Vitals) -> DatabaseProbe {
    let (store, database) = (Arc::clone(&parts.store), parts.board.database.clone());
    DatabaseProbe { store, database, jitter: parts.jitter.clone(), vitals }
}

fn cluster(parts: &NodeParts, vitals: Vitals) -> Cluster {
    let NodeParts { store, owner, engine, board, signals, tenants, links, .. } = parts;
    let parts = ClusterParts {
        store: Arc::clone(store),
        owner: owner.clone(),
        lease: engine.config().lease,
        database: board.database.clone(),
        placement: board.placement.clone(),
        members: board.members.clone(),
        tenants: tenants.clone(),
        links: links.clone(),
        signals: signals.clone(),
    };
    Cluster(parts, vitals)
}

fn admin(parts: &NodeParts, listeners: &Arc<Listeners>) -> StartFn {
    let arguments = AdminServerArguments {
        listeners: Arc::clone(listeners),
        answers: Arc::new(NodeAnswers(parts.clone())),
        versions: parts.versions.clone(),
        telemetry: parts.telemetry().clone(),
        budget: parts.engine.budget().clone(),
    };
    start_actor(move |_| (AdminServer, arguments.clone()))
}

fn high_water(parts: &NodeParts, vitals: Vitals) -> HighWaterActor {
    HighWaterActor {
        store: Arc::clone(&parts.store),
        database: parts.board.database.clone(),
        mark: parts.board.mark.clone(),
        tenants: parts.tenants.clone(),
        signals: parts.signals.clone(),
        poll: parts.bounds.poll,
        sweep: parts.bounds.sweep,
        telemetry: parts.telemetry().clone(),
        vitals,
    }
}

fn lease_keeper(parts: &NodeParts, vitals: Vitals) -> LeaseKeeper {
    LeaseKeeper {
        engine: Arc::clone(&parts.engine),
        former: parts.former.clone(),
        facts: parts.facts.clone(),
        database: parts.board.database.clone(),
        unrenewed: parts.board.unrenewed.clone(),
        joined: parts.signals.joined.clone(),
        vitals,
    }
}

fn notary(parts: &NodeParts, sealing: &Arc<Sealing>, vitals: Vitals) -> Notary {
    Notary {
        engine: Arc::clone(&parts.engine),
        sealing: Arc::clone(sealing),
        database: parts.board.database.clone(),
        mark: parts.board.mark.subscribe(),
        placement: parts.board.placement.clone(),
        tenants: parts.tenants.clone(),
        window: parts.board.seal.window.clone(),
        sweep: parts.bounds.sweep,
        vitals,
    }
}

fn scrubber(parts: &NodeParts, sealing: &Arc<Sealing>, vitals: Vitals) -> ScrubberActor {
    ScrubberActor {
        engine: Arc::clone(&parts.engine),
        sealing: Arc::clone(sealing),
        database: parts.board.database.clone(),
        placement: parts.board.placement.clone(),
        scrub: parts.board.seal.scrub.clone(),
        vitals,
    }
}

fn replay_coordinator(parts: &NodeParts, vitals: Vitals) -> ReplayCoordinator {
    ReplayCoordinator(Arc::clone(&parts.jobs), vitals)
}

/// Specifies a supervisor whose children come and go; `then` is called with it at each start.
fn dynamic(id: &str, intensity: Intensity, parts: &NodeParts, then: fn(&NodeParts, SupervisorRef)) -> ChildSpec {
    let parts = parts.clone();
    let spec = SupervisorSpec { strategy: Strategy::OneForOne, intensity, backoff: BACKOFF, children: Vec::new() };
    ChildSpec::supervisor(id, spec).on_start(move |supervisor| then(&parts, supervisor))
}

fn actor<A: Actor<Arguments = ()>>(parts: &NodeParts, build: fn(&NodeParts, Vitals) -> A) -> StartFn {
    let parts = parts.clone();
    start_actor(move |vitals| (build(&parts, vitals), ()))
}
