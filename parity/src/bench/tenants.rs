//! Many tenants on one node. Measures the time until all are current, the memory per scope, and the freshness of a
//! trickle over all tenants. Measures also the load of a node without work.

use super::Request;
use super::cursors::Watch;
use super::freshness::{Feed, tell, tell_looks, trickles};
use super::node::{LOOK_EVERY, NodeOrder, RunningNode};
use super::place::{Place, Site};
use super::report::{Goal, Report, Series};
use crate::check::trial::read;
use crate::workload::original;
use crate::workload::prng::Prng;
use anyhow::{Result, bail};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::{AppendMode, Store, Verdict};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Events that every tenant has at the start.
pub const EVENTS_EACH: u64 = 2;
/// Appenders that prepare the log.
const APPENDERS: usize = 8;
/// Events per second over random tenants, and the goal for the 99th percentile, milliseconds.
const TRICKLES: [(f64, f64); 2] = [(200.0, 100.0), (1_000.0, 500.0)];
/// Appenders at a rate: one reaches that many events per second.
const APPENDER_PER_SECOND: f64 = 250.0;
/// Longest wait until all are current, and until all are passivated.
const WAIT_MAX: Duration = Duration::from_secs(1_800);
/// Most scopes that are read per page.
const HEADS_PAGE: usize = 500;
/// Time after which a node that was just started has settled.
const SETTLE: Duration = Duration::from_secs(2);
/// Time after which the server's statistics show the work of an idle session of PostgreSQL. (A session reports after 10
/// seconds at the latest.)
const REPORTED: Duration = Duration::from_secs(12);
/// Goals; for a start of 10,000 tenants on PostgreSQL and embedded.
const START_SECONDS_MAX: [f64; 2] = [20.0, 8.0];
const SCOPE_BYTES_MAX: f64 = 6.0 * 1024.0;
const IDLE_CPU_PERCENT_MAX: f64 = 1.0;
const IDLE_QUERIES_MAX: f64 = 5.0;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Names a tenant by its number.
pub fn named(index: usize) -> Result<TenantId> {
    Ok(TenantId::new(format!("tenant-{index:05}"))?)
}

/// Makes a store whose log has two events per tenant. Returns with it the position of each tenant's last event.
pub async fn prepared(place: &Place, tenants: usize) -> Result<(Site, HashMap<TenantId, LogSeq>)> {
    let site = place.fresh().await?;
    let events = (0..EVENTS_EACH).map(|index| Ok(read(&original::event(index))?)).collect::<Result<Vec<_>>>()?;
    let store = site.open(APPENDERS).await?;
    let tasks = (0..APPENDERS).map(|appender| {
        let (store, events) = (Arc::clone(&store), events.clone());
        tokio::spawn(async move {
            let mut last = Vec::new();
            for index in (appender..tenants).step_by(APPENDERS) {
                let tenant = named(index)?;
                match store.append(&tenant, &events, AppendMode::AllOrNothing).await?.last() {
                    Some(Verdict::Accepted { log_seq, .. }) => last.push((tenant, *log_seq)),
                    other => bail!("an event is not stored: {other:?}"),
                }
            }
            Ok(last)
        })
    });
    let mut last = HashMap::new();
    for done in futures_util::future::try_join_all(tasks).await? {
        last.extend(done?);
    }
    drop(store);
    place.settle(&site).await?;
    Ok((site, last))
}

/// Waits until every projection of every tenant has its last event. Asks in the order of the tenants, for those behind
/// the ones that were seen to be current: the question then costs little beside the node. Returns each look: seconds
/// after `started`, and the tenants that were seen to be current.
pub async fn all_current(
    store: &Arc<dyn Store>,
    last: &HashMap<TenantId, LogSeq>,
    started: Instant,
) -> Result<Vec<(f64, f64)>> {
    let mut looks = Vec::new();
    let mut tenants: Vec<(&TenantId, LogSeq)> = last.iter().map(|(tenant, last)| (tenant, *last)).collect();
    tenants.sort_unstable();
    let mut current = 0;
    while current < tenants.len() {
        let seen = current;
        let after = current.checked_sub(1).map(|index| tenants[index].0);
        let page = store.view().await?.scope_heads(after, HEADS_PAGE).await?;
        for scopes in page.chunk_by(|a, b| a.scope.tenant == b.scope.tenant) {
            let Some((tenant, last)) = tenants.get(current) else { break };
            let whole = scopes.len() == catalogue::ALL.len() && scopes.iter().all(|head| head.cursor >= *last);
            if scopes[0].scope.tenant != **tenant || !whole {
                break;
            }
            current += 1;
        }
        looks.push((started.elapsed().as_secs_f64(), current as f64));
        if current == seen {
            anyhow::ensure!(started.elapsed() < WAIT_MAX, "only {current} tenants are current");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(looks)
}

/// Measures the memory of a node on an empty store, bytes.
pub async fn empty_node_bytes(request: &Request, place: &Place) -> Result<Option<u64>> {
    let site = place.fresh().await?;
    let directory = tempfile::tempdir()?;
    let node = RunningNode::start(&site, &NodeOrder::production(directory.path(), request.batch_events)).await?;
    tokio::time::sleep(SETTLE).await;
    let bytes = node.resident_bytes();
    node.stop().await?;
    place.remove(site).await?;
    Ok(bytes)
}

/// Takes the measures that the head of this file names.
pub async fn tenants(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "tenants";
    let scopes = (request.tenants * catalogue::ALL.len()) as f64;
    let empty = empty_node_bytes(request, place).await?;
    report.optional(MEASURE, "memory of an empty node", empty.map(|bytes| bytes as f64 / MIB), "MiB");
    let (site, last) = prepared(place, request.tenants).await?;
    let store = site.open(2).await?;
    let directory = tempfile::tempdir()?;
    let mut order = NodeOrder::production(directory.path(), request.batch_events);
    order.passivate_after_ms = order.passivate_after_ms.min(request.seconds * 1_000);
    let started = Instant::now();
    let node = RunningNode::start(&site, &order).await?;
    let looks = all_current(&store, &last, started).await?;
    let (took, name) = (started.elapsed().as_secs_f64(), format!("{} tenants: start to all current", last.len()));
    let [postgres, embedded] = START_SECONDS_MAX;
    let goal = Goal::AtMost(if place.is_postgres() { postgres } else { embedded });
    report.goal(MEASURE, name, took, "s", goal);
    report.series.push(Series {
        measure: MEASURE.to_owned(),
        chart: format!("{MEASURE}-start"),
        name: format!("{} tenants, {EVENTS_EACH} events each", last.len()),
        x: "time after the start of the node, s".to_owned(),
        y: "tenants that are current".to_owned(),
        log_x: false,
        points: looks,
    });
    report.optional(MEASURE, "peak memory until then", node.peak_bytes().map(|bytes| bytes as f64 / MIB), "MiB");
    drop(store);
    node.all_passivated(WAIT_MAX).await?;
    let after = node.resident_bytes();
    report.optional(MEASURE, "memory, all passivated", after.map(|bytes| bytes as f64 / MIB), "MiB");
    if let (Some(after), Some(empty)) = (after, empty) {
        let each = after.saturating_sub(empty) as f64 / scopes;
        report.goal(MEASURE, "memory a scope, all passivated", each / KIB, "KiB", Goal::AtMost(SCOPE_BYTES_MAX / KIB));
    }

    let feed = Feed::of(place, &site, &node).await?;
    let duration = Duration::from_secs(request.seconds);
    let next = Arc::new(Mutex::new(vec![EVENTS_EACH; request.tenants]));
    for (per_second, p99_ms_max) in TRICKLES {
        let watch = Watch::start(&site.url)?;
        let producers = (per_second / APPENDER_PER_SECOND).ceil() as usize;
        let shares = (0..producers).map(|first| Trickle {
            dice: Prng::new(request.seed + first as u64),
            next: Arc::clone(&next),
            first,
            producers,
        });
        let rate = trickles(&feed, per_second, shares.collect(), &watch.appended, duration).await?;
        let at_its_end = node.resident_bytes();
        let seen = watch.end().await?;
        let when = format!("{per_second:.0}/s over all tenants");
        let values: Vec<f64> = seen.events.iter().map(|(_, ms)| *ms).collect();
        report.figure(MEASURE, format!("{when}: appended"), rate, "events/s");
        tell(report, MEASURE, &when, &values, [None, Some(p99_ms_max)]);
        tell_looks(report, MEASURE, &when, &seen);
        report.optional(
            MEASURE,
            format!("{when}: memory at its end"),
            at_its_end.map(|bytes| bytes as f64 / MIB),
            "MiB",
        );
    }
    drop(feed);

    node.all_passivated(WAIT_MAX).await?;
    place.settle(&site).await?;
    tokio::time::sleep(if place.is_postgres() { REPORTED } else { SETTLE }).await;
    let (cpu, transactions, server, began) =
        (node.cpu_seconds(), place.transactions(&site).await?, place.spent().await?, Instant::now());
    tokio::time::sleep(duration).await;
    let seconds = began.elapsed().as_secs_f64();
    let percent = |now: Option<f64>, then: Option<f64>| Some((now? - then?) / seconds * 100.0);
    if let Some(spent) = percent(node.cpu_seconds(), cpu) {
        report.goal(MEASURE, "idle: CPU of the node", spent, "% of a core", Goal::AtMost(IDLE_CPU_PERCENT_MAX));
    }
    if let (Some(now), Some(then)) = (place.transactions(&site).await?, transactions) {
        let rate = (now - then) as f64 / seconds;
        report.goal(MEASURE, "idle: transactions", rate, "/s", Goal::AtMost(IDLE_QUERIES_MAX));
    }
    let server = place.spent().await?.since(server).cpu_seconds;
    report.optional(MEASURE, "idle: CPU of the server", percent(server, Some(0.0)), "% of a core");
    report.optional(MEASURE, "idle: memory", node.resident_bytes().map(|bytes| bytes as f64 / MIB), "MiB");
    node.stop().await?;
    place.remove(site).await
}

/// Events of a producer. Each tenant's log continues where it ended, and the next tenant is drawn at random among the
/// producer's own: every so many of all, from the `first` on.
struct Trickle {
    dice: Prng,
    /// Number of each tenant's next event.
    next: Arc<Mutex<Vec<u64>>>,
    first: usize,
    producers: usize,
}

impl Iterator for Trickle {
    type Item = (TenantId, String);

    fn next(&mut self) -> Option<(TenantId, String)> {
        let mut next = self.next.lock().ok()?;
        let own = (next.len() - self.first).div_ceil(self.producers);
        let index = self.first + self.dice.below(own) * self.producers;
        let event = next[index];
        next[index] += 1;
        Some((named(index).ok()?, original::event(event)))
    }
}
