//! Several nodes on one database. Measures the rate at which one, two and three nodes apply a backlog of many tenants.
//! Measures the time until each tenant is in its place after a node joined, left or died. Measures the cost of an idle
//! member, and the cost of the fence in a batch.

use super::Request;
use super::node::{LOOK_EVERY, NodeOrder, RunningNode, ms};
use super::place::{Place, Site};
use super::report::{Goal, Report, median, percentile};
use super::tenants::{all_current, named};
use crate::check::trial::read;
use crate::workload::{Profile, Workload, original};
use anyhow::{Context as _, Result};
use decisiongraph_engine::EngineConfig;
use decisiongraph_projections::{Admitted, LogSeq, TenantId, catalogue};
use decisiongraph_runtime::board::placement::{Candidate, Placement};
use decisiongraph_store::{AppendMode, Store};
use futures_util::future::try_join_all;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

const MEASURE: &str = "cluster";
/// Tenants of the backlog.
const TENANTS: usize = 24;
/// Most nodes.
const NODES: usize = 3;
/// Events of one append.
const LOAD_BATCH: usize = 500;
/// Time between two events of a tenant while nodes come and go: an owner shows by its next commit.
const TRICKLE: Duration = Duration::from_millis(100);
/// Longest wait until all tenants are in their places.
const PLACED_MAX: Duration = Duration::from_secs(120);
/// Pause between two checks of the owners.
const PAUSE: Duration = Duration::from_millis(10);
/// Time after which the server's statistics show the work of an idle session of PostgreSQL.
const REPORTED: Duration = Duration::from_secs(12);
/// Pairs of fence and bare update.
const FENCES: usize = 2_000;

/// Takes the measures that the head of this file names. On PostgreSQL alone: an embedded store has one node.
pub async fn cluster(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    if !place.is_postgres() {
        return Ok(());
    }
    let each = usize::try_from(request.events).unwrap_or(usize::MAX) / TENANTS;
    let lines = Workload::new(Profile::Mixed, request.seed, each as u64, 1);
    let log = lines.map(|line| Ok(read(&line)?)).collect::<Result<Vec<_>>>()?;
    let (loaded, last) = backlog(place, &log).await?;
    throughput(request, place, report, &loaded, &last).await?;
    changes(request, place, report, &loaded, &last).await?;
    fence(place, report, &loaded).await?;
    place.remove(loaded).await
}

/// Makes a store with these events for each tenant, and nothing projected.
async fn backlog(place: &Place, log: &[Admitted]) -> Result<(Site, HashMap<TenantId, LogSeq>)> {
    let site = place.fresh().await?;
    let store = site.open(4).await?;
    let mut last = HashMap::new();
    for index in 0..TENANTS {
        let tenant = named(index)?;
        for batch in log.chunks(LOAD_BATCH) {
            store.append(&tenant, batch, AppendMode::AllOrNothing).await?;
        }
        let end = store.view().await?.last_log_seq(&tenant, None).await?;
        last.insert(tenant, end);
    }
    drop(store);
    place.settle(&site).await?;
    Ok((site, last))
}

fn order(request: &Request, directory: &std::path::Path, index: usize) -> NodeOrder {
    let lease = EngineConfig::default().lease.min(Duration::from_secs(request.seconds));
    let data_dir = directory.join(format!("n{index}"));
    NodeOrder {
        name: format!("n{index}"),
        lease_ms: ms(lease),
        passivate_after_ms: 2_000,
        ..NodeOrder::production(&data_dir, request.batch_events)
    }
}

async fn started(
    request: &Request,
    site: &Site,
    directory: &std::path::Path,
    nodes: usize,
) -> Result<Vec<RunningNode>> {
    let orders: Vec<NodeOrder> = (0..nodes).map(|index| order(request, directory, index)).collect();
    for order in &orders {
        std::fs::create_dir_all(&order.data_dir)?;
    }
    try_join_all(orders.iter().map(|order| RunningNode::start(site, order))).await
}

async fn throughput(
    request: &Request,
    place: &Place,
    report: &mut Report,
    loaded: &Site,
    last: &HashMap<TenantId, LogSeq>,
) -> Result<()> {
    let events = loaded.open(1).await?.view().await?.last_log_seq(&named(TENANTS - 1)?, None).await?.0 as f64;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); NODES];
    // In turns, so that other load of the machine falls on all alike.
    for _ in 0..request.repeat {
        for nodes in 1..=NODES {
            let site = place.copy(loaded).await?;
            let directory = tempfile::tempdir()?;
            let spent = place.spent().await?;
            let began = Instant::now();
            let running = started(request, &site, directory.path(), nodes).await?;
            all_current(&site.open(2).await?, last, began).await?;
            let seconds = began.elapsed().as_secs_f64();
            rates[nodes - 1].push(events / seconds);
            let own: f64 = running.iter().filter_map(RunningNode::cpu_seconds).sum();
            if rates[nodes - 1].len() == request.repeat {
                let server = place.spent().await?.since(spent).cpu_seconds;
                report.figure(
                    MEASURE,
                    format!("{nodes} nodes: CPU of the nodes"),
                    own / seconds * 100.0,
                    "% of a core",
                );
                let server = server.map(|server| server / seconds * 100.0);
                report.optional(MEASURE, format!("{nodes} nodes: CPU of the server"), server, "% of a core");
            }
            for node in running {
                node.stop().await?;
            }
            place.remove(site).await?;
        }
    }
    for (index, rates) in rates.iter().enumerate() {
        let name = format!("{} nodes: backlog of {TENANTS} tenants, start to all current", index + 1);
        report.figure(MEASURE, name, median(rates), "events/s");
    }
    report.figure(MEASURE, "2 nodes against 1", median(&rates[1]) / median(&rates[0]), "");
    report.figure(MEASURE, "3 nodes against 1", median(&rates[2]) / median(&rates[0]), "");
    Ok(())
}

/// Measures joins, leaves and kills under a trickle over all tenants; then idleness.
async fn changes(
    request: &Request,
    place: &Place,
    report: &mut Report,
    loaded: &Site,
    last: &HashMap<TenantId, LogSeq>,
) -> Result<()> {
    let site = place.copy(loaded).await?;
    let directory = tempfile::tempdir()?;
    let store = site.open(4).await?;
    let mut running: HashMap<usize, RunningNode> = HashMap::new();
    for (index, node) in started(request, &site, directory.path(), 1).await?.into_iter().enumerate() {
        running.insert(index, node);
    }
    all_current(&store, last, Instant::now()).await?;
    let writer = tokio::spawn(trickle(Arc::clone(&store)));
    let (mut joins, mut leaves, mut kills) = (Vec::new(), Vec::new(), Vec::new());
    placed(&store, &running).await?;
    for round in 0..request.repeat.max(1) * 2 {
        let missing: Vec<usize> = (1..NODES).filter(|index| !running.contains_key(index)).collect();
        for index in missing {
            let order = order(request, directory.path(), index);
            std::fs::create_dir_all(&order.data_dir)?;
            let began = Instant::now();
            running.insert(index, RunningNode::start(&site, &order).await?);
            placed(&store, &running).await?;
            joins.push(began.elapsed().as_secs_f64());
        }
        let node = running.remove(&(NODES - 1)).context("the last node runs")?;
        let began = Instant::now();
        if round % 2 == 0 {
            let (stopped, converged) = tokio::join!(node.stop(), placed(&store, &running));
            stopped?;
            converged?;
            leaves.push(began.elapsed().as_secs_f64());
        } else {
            node.kill().await?;
            placed(&store, &running).await?;
            kills.push(began.elapsed().as_secs_f64());
        }
    }
    writer.abort();
    let lease = order(request, directory.path(), 0).lease_ms as f64 / 1_000.0;
    for (what, times) in [("joined", &joins), ("left", &leaves)] {
        report.figure(MEASURE, format!("a node {what}: all tenants in place, median"), median(times), "s");
        report.figure(MEASURE, format!("a node {what}: all tenants in place, longest"), percentile(times, 100.0), "s");
    }
    let name = format!("a node was killed (lease {lease} s): all tenants in place, longest");
    report.goal(MEASURE, name, percentile(&kills, 100.0), "s", Goal::AtMost(lease + 1.0));
    for nodes in (1..=running.len()).rev() {
        if nodes < running.len()
            && let Some(node) = running.remove(&nodes)
        {
            node.stop().await?;
        }
        idle(request, place, report, &site, &running).await?;
    }
    for (_, node) in running {
        node.stop().await?;
    }
    drop(store);
    place.remove(site).await
}

/// Appends one event of each tenant after the other, without end.
async fn trickle(store: Arc<dyn Store>) -> Result<()> {
    for number in 0.. {
        let event = read(&original::event(number))?;
        for index in 0..TENANTS {
            store.append(&named(index)?, std::slice::from_ref(&event), AppendMode::AllOrNothing).await?;
        }
        tokio::time::sleep(TRICKLE).await;
    }
    Ok(())
}

/// Waits until every scope is owned by the node that should have it.
async fn placed(store: &Arc<dyn Store>, running: &HashMap<usize, RunningNode>) -> Result<()> {
    let nodes: Vec<Candidate> =
        running.keys().map(|index| Candidate { node: format!("n{index}"), keeps: None }).collect();
    let tenants = (0..TENANTS).map(named).collect::<Result<BTreeSet<_>>>()?;
    let placement = Placement::new(&nodes, &tenants);
    let began = Instant::now();
    loop {
        let rows = store.view().await?.scopes(None).await?;
        let right =
            rows.iter().filter(|row| row.owner_live && row.owner.as_deref() == placement.node_of(&row.scope.tenant));
        let right = right.count();
        if right == TENANTS * catalogue::ALL.len() {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < PLACED_MAX, "only {right} scopes are where they belong");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn idle(
    request: &Request,
    place: &Place,
    report: &mut Report,
    site: &Site,
    running: &HashMap<usize, RunningNode>,
) -> Result<()> {
    for node in running.values() {
        node.all_passivated(PLACED_MAX).await?;
    }
    tokio::time::sleep(REPORTED).await;
    let cpu = || running.values().filter_map(RunningNode::cpu_seconds).sum::<f64>();
    let (before, transactions, server, began) =
        (cpu(), place.transactions(site).await?, place.spent().await?, Instant::now());
    tokio::time::sleep(Duration::from_secs(request.seconds).max(LOOK_EVERY)).await;
    let (seconds, nodes) = (began.elapsed().as_secs_f64(), running.len() as f64);
    let spent = (cpu() - before) / seconds * 100.0 / nodes;
    report.goal(MEASURE, format!("{nodes} idle nodes: CPU of each"), spent, "% of a core", Goal::AtMost(1.0));
    if let (Some(now), Some(then)) = (place.transactions(site).await?, transactions) {
        let rate = (now - then) as f64 / seconds / nodes;
        report.goal(MEASURE, format!("{nodes} idle nodes: transactions of each"), rate, "/s", Goal::AtMost(5.0));
    }
    let server = place.spent().await?.since(server).cpu_seconds.map(|server| server / seconds * 100.0);
    report.optional(MEASURE, format!("{nodes} idle nodes: CPU of the server"), server, "% of a core");
    Ok(())
}

/// Measures the statement that ends every batch, in turns with an update of the same row that checks nothing.
async fn fence(place: &Place, report: &mut Report, loaded: &Site) -> Result<()> {
    let site = place.copy(loaded).await?;
    let store = site.open(1).await?;
    let owner = decisiongraph_store::Owner { node: "bench".to_owned(), incarnation: uuid::Uuid::new_v4() };
    store.heartbeat(&owner, Duration::from_secs(60)).await?;
    let scope = decisiongraph_store::Scope::new(&named(0)?, catalogue::ALL[0]);
    store.acquire_scope(&scope, &owner).await?;
    let (client, connection) = tokio_postgres::connect(&site.url, NoTls).await?;
    tokio::spawn(connection);
    // The comparison is about the work of the statement, not of the disk.
    client.batch_execute("SET synchronous_commit = off").await?;
    let fence = client
        .prepare(
            "SELECT dg_commit_scope(tenant_id, projection, cursor_seq, cursor_seq, epoch, epoch_token, generation, digest, version) \
             FROM dg_scope WHERE tenant_id = $1 AND projection = $2",
        )
        .await?;
    let bare = client
        .prepare(
            "UPDATE dg_scope SET cursor_seq = cursor_seq, digest = digest, version = version, updated_at = clock_timestamp() \
             WHERE tenant_id = $1 AND projection = $2",
        )
        .await?;
    let (tenant, projection) = (scope.tenant.as_str(), scope.projection);
    let (mut fences, mut bares) = (Vec::with_capacity(FENCES), Vec::with_capacity(FENCES));
    for _ in 0..FENCES {
        for (statement, times) in [(&fence, &mut fences), (&bare, &mut bares)] {
            let began = Instant::now();
            client.execute(statement, &[&tenant, &projection]).await?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    report.figure(MEASURE, "the fence of a batch, a statement and its round trip, median", median(&fences), "us");
    report.figure(MEASURE, "an update that checks nothing, likewise, median", median(&bares), "us");
    report.figure(MEASURE, "the check, median", median(&fences) - median(&bares), "us");
    drop((client, store));
    place.remove(site).await
}
