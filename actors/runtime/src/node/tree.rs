//! The supervision tree of a node, as data on one screen.
//!
//! ```text
//!   node (rest_for_one)
//!   ├─ store_pool, cluster, admin, high_water, lease_keeper
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

use super::{NodeAnswers, NodeParts, Shared};
use crate::cluster::Cluster;
use crate::database_probe::StorePool;
use crate::high_water::HighWaterActor;
use crate::jobs::{Job, ReplayCoordinator};
use crate::lease_keeper::LeaseKeeper;
use crate::tenants::Coordinator;
use crate::tenants::TenantCell;
use crate::tenants::Worker;
use decisiongraph_projections::{Projection, TenantId, catalogue};
use decisiongraph_rpc::{AdminServer, AdminServerArguments, Answers, Listeners};
use decisiongraph_supervision::{
    Backoff, ChildSpec, Intensity, Restart, Shutdown, Strategy, SupervisorRef, SupervisorSpec, Vitals, start_actor,
};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Restarts that each supervisor allows. Expected faults are states and never count; defects and kills count.
const NODE: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(60) };
const SCOPES: Intensity = Intensity { restarts_max: 100, period: Duration::from_secs(60) };
const TENANT: Intensity = Intensity { restarts_max: 5, period: Duration::from_secs(30) };
const WORKERS: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(30) };
const REPLAY: Intensity = Intensity { restarts_max: 10, period: Duration::from_secs(60) };
const LINKS: Intensity = Intensity { restarts_max: 100, period: Duration::from_secs(60) };
/// Pause between a defect and the restart.
const BACKOFF: Option<Backoff> = Some(Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(2) });

/// Specifies the whole node.
pub fn node_spec(parts: &NodeParts) -> SupervisorSpec {
    let shared = &parts.shared;
    let mut children = vec![
        ChildSpec::worker("store_pool", actor(shared, StorePool)),
        ChildSpec::worker("cluster", actor(shared, Cluster)),
    ];
    children.extend(parts.listeners.as_ref().map(|listeners| admin_spec(shared, listeners)));
    children.extend([
        ChildSpec::worker("high_water", actor(shared, HighWaterActor)),
        ChildSpec::worker("lease_keeper", actor(shared, LeaseKeeper)),
        dynamic("scopes", SCOPES, shared, |shared, supervisor| {
            shared.scopes.attach(supervisor);
            shared.find_behind();
        }),
        ChildSpec::supervisor("replay", replay_spec(shared)),
    ]);
    if shared.links.are_open() {
        children.push(dynamic("links", LINKS, shared, |shared, supervisor| shared.links.attach(shared, supervisor)));
    }
    SupervisorSpec { strategy: Strategy::RestForOne, intensity: NODE, backoff: BACKOFF, children }
}

fn admin_spec(shared: &Shared, listeners: &Arc<Listeners>) -> ChildSpec {
    let answers: Arc<dyn Answers> = Arc::new(NodeAnswers(shared.clone()));
    let arguments = AdminServerArguments {
        listeners: Arc::clone(listeners),
        answers,
        versions: shared.versions().clone(),
        telemetry: shared.telemetry().clone(),
        budget: shared.engine.budget().clone(),
    };
    ChildSpec::worker("admin", start_actor(move |_| (AdminServer, arguments.clone())))
}

fn replay_spec(shared: &Shared) -> SupervisorSpec {
    SupervisorSpec {
        strategy: Strategy::OneForOne,
        intensity: REPLAY,
        backoff: BACKOFF,
        children: vec![
            ChildSpec::worker("replay_coordinator", actor(shared, ReplayCoordinator)),
            dynamic("jobs", REPLAY, shared, |shared, supervisor| {
                shared.set_job_supervisor(supervisor);
                shared.poke_replay();
            }),
        ],
    }
}

/// Specifies a tenant's actors.
pub fn tenant_spec(shared: &Shared, cell: Arc<TenantCell>) -> ChildSpec {
    let workers = SupervisorSpec {
        strategy: Strategy::OneForOne,
        intensity: WORKERS,
        backoff: BACKOFF,
        children: catalogue::ALL.iter().map(|projection| worker_spec(shared, &cell, *projection)).collect(),
    };
    let coordinator = start_actor({
        let (shared, cell) = (shared.clone(), Arc::clone(&cell));
        move |vitals| (Coordinator(shared.clone(), Arc::clone(&cell), vitals), ())
    });
    let id = tenant_id(&cell.tenant);
    let tenant = SupervisorSpec {
        strategy: Strategy::OneForAll,
        intensity: TENANT,
        backoff: BACKOFF,
        children: vec![ChildSpec::worker("coordinator", coordinator), ChildSpec::supervisor("workers", workers)],
    };
    ChildSpec::supervisor(id, tenant)
}

fn worker_spec(shared: &Shared, cell: &Arc<TenantCell>, projection: &'static dyn Projection) -> ChildSpec {
    let (shared, cell) = (shared.clone(), Arc::clone(cell));
    let drain = shared.bounds.drain;
    let start =
        start_actor(move |vitals| (Worker { shared: shared.clone(), cell: Arc::clone(&cell), projection, vitals }, ()));
    // Transient: a worker that gave its scope up (a normal exit) stays away until it is wanted again.
    ChildSpec::worker(worker_id(projection), start).restart(Restart::Transient).shutdown(Shutdown::Timeout(drain))
}

/// Specifies a job's child: temporary, because the run row says what becomes of the job.
pub fn job_spec(run_id: Uuid, job: impl Fn(Vitals) -> Job + Send + Sync + 'static) -> ChildSpec {
    ChildSpec::worker(format!("job {run_id}"), start_actor(move |vitals| (job(vitals), ())))
        .restart(Restart::Temporary)
        .shutdown(Shutdown::Timeout(Duration::from_secs(1)))
}

/// Names a tenant's segment in the dump's paths.
pub fn tenant_id(tenant: &TenantId) -> String {
    format!("tenant {tenant}")
}

/// Names a worker's segment in the dump's paths.
pub fn worker_id(projection: &dyn Projection) -> String {
    format!("worker {}", projection.name())
}

/// Specifies a supervisor whose children come and go; `then` is called with it at each start.
fn dynamic(
    id: &str,
    intensity: Intensity,
    shared: &Shared,
    then: impl Fn(&Shared, SupervisorRef) + Send + Sync + 'static,
) -> ChildSpec {
    let shared = shared.clone();
    let spec = SupervisorSpec { strategy: Strategy::OneForOne, intensity, backoff: BACKOFF, children: Vec::new() };
    ChildSpec::supervisor(id, spec).on_start(move |supervisor| then(&shared, supervisor))
}

fn actor<A>(shared: &Shared, build: fn(Shared, Vitals) -> A) -> decisiongraph_supervision::StartFn
where
    A: ractor::Actor<Arguments = ()>,
{
    let shared = shared.clone();
    start_actor(move |vitals| (build(shared.clone(), vitals), ()))
}
