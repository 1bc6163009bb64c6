//! Time from the return of an append until the event is visible in all projections. It is measured at a steady rate,
//! and beside a running rebuild.

use super::Request;
use super::cursors::{Appended, Seen, Watch};
use super::node::{NodeOrder, RunningNode};
use super::place::{Place, Site};
use super::report::{Goal, Report, Series, percentile};
use crate::check::trial::read;
use crate::workload::{Profile, Workload};
use anyhow::{Result, bail};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::{
    AppendRequest, JobReply, JobRequest, OfferedLine, RebuildRequest, WatchReply, WatchRunRequest,
};
use decisiongraph_store::{AppendMode, RunState, Store, Verdict};
use futures_util::future::try_join_all;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Loads: events per second, producers, and the goals for the median and the 99th percentile, milliseconds.
const LOADS: [(f64, usize, [f64; 2]); 3] =
    [(LIGHT_PER_SECOND, 1, [1.5, 4.0]), (1_000.0, 4, [3.0, 10.0]), (5_000.0, 16, [10.0, 40.0])];
/// Light load, events per second.
const LIGHT_PER_SECOND: f64 = 100.0;
/// Goal for the node at 1,000 events per second, per cent of a core.
const CPU_PERCENT_MAX: f64 = 15.0;
/// Goals beside a rebuild: the 99th percentile against that without, and the part of the appends' rate that is kept.
const BESIDE_P99_MAX: f64 = 4.0;
const BESIDE_RATE_MIN: f64 = 0.9;
/// Share of events that are prepared and not needed, because producers do not get equal shares.
const SPARE: f64 = 0.5;
/// Longest wait for one append.
const APPEND_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a rebuild.
const REBUILD_MAX: Duration = Duration::from_secs(1_800);
/// Longest single wait for news of a job, milliseconds.
const NEWS_MS: u64 = 100;
/// Percentages of all events at which the curve of their times is drawn.
const SHARES: [f64; 21] = [
    1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 98.0, 99.0, 99.5,
    99.9, 100.0,
];
/// Events that are appended before anything is measured: then the scopes are taken and the statements prepared.
const WARM_EVENTS: usize = 20;

/// Events with their tenants, in order.
pub type Events<'e> = &'e mut (dyn Iterator<Item = (TenantId, String)> + Send);

/// Path of events into the log while a node runs.
pub enum Feed {
    /// Appends by this process, straight into the database; the node hears of it through the database.
    Database(Arc<dyn Store>),
    /// Appends through the node: the embedded store belongs to its process.
    Node(Arc<decisiongraph_rpc::Client>),
}

impl Feed {
    /// Chooses the path that fits the place.
    pub async fn of(place: &Place, site: &Site, node: &RunningNode) -> Result<Feed> {
        Ok(if place.is_postgres() {
            Feed::Database(site.open(4).await?)
        } else {
            Feed::Node(Arc::clone(node.client()))
        })
    }

    /// Appends one event.
    async fn append(&self, tenant: &TenantId, line: String) -> Result<LogSeq> {
        let stored = match self {
            Feed::Database(store) => match store.append(tenant, &[read(&line)?], AppendMode::Each).await?.pop() {
                Some(Verdict::Accepted { log_seq, .. }) => Some(log_seq),
                _ => None,
            },
            Feed::Node(client) => {
                let lines = vec![OfferedLine { number: 1, text: Ok(line) }];
                let request = AppendRequest { tenant: Some(tenant.clone()), lines, ..AppendRequest::default() };
                let reply = client.ask(request, Uuid::new_v4(), APPEND_MAX).await?;
                if reply.accepted == 1 { reply.verdicts[0].log_seq } else { None }
            }
        };
        stored.ok_or_else(|| anyhow::anyhow!("an event of the workload is not stored"))
    }
}

/// Appends at a steady pace: each event has its moment, and a late event follows immediately. Continues while `more` is
/// true, and appends at least one event. Returns the rate that it reached, events per second.
pub async fn trickle(
    feed: &Feed,
    per_second: f64,
    events: Events<'_>,
    appended: &Sender<Appended>,
    more: impl Fn(Duration) -> bool,
) -> Result<f64> {
    let started = Instant::now();
    let mut sent: u32 = 0;
    while sent == 0 || more(started.elapsed()) {
        let moment = started + Duration::from_secs_f64(f64::from(sent) / per_second);
        if moment > Instant::now() {
            tokio::time::sleep_until(moment.into()).await;
        }
        let Some((tenant, line)) = events.next() else { bail!("the workload is over") };
        let log_seq = feed.append(&tenant, line).await?;
        appended.send(Appended { tenant, log_seq, at: Instant::now() })?;
        sent += 1;
    }
    Ok(f64::from(sent) / started.elapsed().as_secs_f64())
}

/// Appends as [`trickle`], by one producer per share of the events at the same time. Returns the rate of all together.
pub async fn trickles<E>(
    feed: &Feed,
    per_second: f64,
    shares: Vec<E>,
    appended: &Sender<Appended>,
    duration: Duration,
) -> Result<f64>
where
    E: Iterator<Item = (TenantId, String)> + Send,
{
    let each = per_second / shares.len() as f64;
    let producers = shares
        .into_iter()
        .map(|mut share| async move { trickle(feed, each, &mut share, appended, |elapsed| elapsed < duration).await });
    Ok(try_join_all(producers).await?.into_iter().sum())
}

/// Reports median, 99th percentile, maximum and the curve between; with goals for the first two, if there are any.
pub fn tell(report: &mut Report, measure: &str, when: &str, events_ms: &[f64], goals: [Option<f64>; 2]) {
    let values = [("p50", percentile(events_ms, 50.0)), ("p99", percentile(events_ms, 99.0))];
    for ((name, value), goal) in values.into_iter().zip(goals) {
        let name = format!("{when}: append to visible, {name}");
        match goal {
            Some(goal) => report.goal(measure, name, value, "ms", Goal::AtMost(goal)),
            None => report.figure(measure, name, value, "ms"),
        }
    }
    report.figure(measure, format!("{when}: append to visible, max"), percentile(events_ms, 100.0), "ms");
    report.figure(measure, format!("{when}: events"), events_ms.len() as f64, "");
    report.series.push(Series {
        measure: measure.to_owned(),
        chart: format!("{measure}-visible"),
        name: when.to_owned(),
        x: "append to visible, ms".to_owned(),
        y: "events, %".to_owned(),
        log_x: true,
        points: SHARES.map(|share| (percentile(events_ms, share), share)).to_vec(),
    });
}

/// Reports the time between two checks.
pub fn tell_looks(report: &mut Report, measure: &str, when: &str, seen: &Seen) {
    report.figure(measure, format!("{when}: between two looks, p50"), percentile(&seen.looks_ms, 50.0), "ms");
    report.figure(measure, format!("{when}: between two looks, p99"), percentile(&seen.looks_ms, 99.0), "ms");
}

/// Generates the mixed workload for the default tenant, without its first `skip` events.
pub fn mixed(seed: u64, skip: u64) -> impl Iterator<Item = (TenantId, String)> + Send {
    Workload::new(Profile::Mixed, seed, u64::MAX, 1).skip(skip as usize).map(|line| (TenantId::default(), line))
}

/// Appends a few events and waits until they are visible.
async fn warm(site: &Site, feed: &Feed, events: Events<'_>) -> Result<()> {
    let watch = Watch::start(&site.url)?;
    for _ in 0..WARM_EVENTS {
        let Some((tenant, line)) = events.next() else { bail!("the workload is over") };
        let log_seq = feed.append(&tenant, line).await?;
        watch.appended.send(Appended { tenant, log_seq, at: Instant::now() })?;
    }
    watch.end().await.map(|_| ())
}

/// Divides events among producers. The events of a trace stay with one producer, in their order.
pub fn shares(
    events: impl Iterator<Item = (TenantId, String)>,
    producers: usize,
) -> Result<Vec<std::vec::IntoIter<(TenantId, String)>>> {
    let mut shares = vec![Vec::new(); producers];
    for (tenant, line) in events {
        let mut hasher = DefaultHasher::new();
        read(&line)?.envelope().trace_id.hash(&mut hasher);
        shares[(hasher.finish() % producers as u64) as usize].push((tenant, line));
    }
    Ok(shares.into_iter().map(Vec::into_iter).collect())
}

/// Measures at 100, 1,000 and 5,000 events per second, one event per append.
pub async fn freshness(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "freshness";
    let duration = Duration::from_secs(request.seconds);
    for (per_second, producers, [p50_ms_max, p99_ms_max]) in LOADS {
        let site = place.fresh().await?;
        let directory = tempfile::tempdir()?;
        let count = (per_second * duration.as_secs_f64() * (1.0 + SPARE)) as usize + 1_000;
        let mut events = mixed(request.seed, 0);
        let node = RunningNode::start(&site, &NodeOrder::production(directory.path(), request.batch_events)).await?;
        let feed = Feed::of(place, &site, &node).await?;
        warm(&site, &feed, &mut events).await?;
        let shares = shares(events.take(count), producers)?;
        let watch = Watch::start(&site.url)?;
        let cpu = node.cpu_seconds();
        let started = Instant::now();
        let rate = trickles(&feed, per_second, shares, &watch.appended, duration).await?;
        let seen = watch.end().await?;
        let spent =
            node.cpu_seconds().zip(cpu).map(|(now, then)| (now - then) / started.elapsed().as_secs_f64() * 100.0);
        let values: Vec<f64> = seen.events.iter().map(|(_, ms)| *ms).collect();
        let when = format!("{per_second:.0}/s");
        report.figure(MEASURE, format!("{when}: appended"), rate, "events/s");
        tell(report, MEASURE, &when, &values, [Some(p50_ms_max), Some(p99_ms_max)]);
        tell_looks(report, MEASURE, &when, &seen);
        let name = format!("{when}: CPU of the node");
        match spent.filter(|_| per_second == 1_000.0) {
            Some(spent) => report.goal(MEASURE, name, spent, "% of a core", Goal::AtMost(CPU_PERCENT_MAX)),
            None => report.optional(MEASURE, name, spent, "% of a core"),
        }
        drop(feed);
        node.stop().await?;
        place.remove(site).await?;
    }
    Ok(())
}

/// Measures at 100 events per second on a long log: first alone, then while that log is rebuilt beside.
pub async fn live(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "live";
    let lines = Workload::new(Profile::Mixed, request.seed, request.events, 1);
    let log = lines.map(|line| Ok(read(&line)?)).collect::<Result<Vec<_>>>()?;
    let site = place.loaded(&log).await?;
    drop(log);
    let directory = tempfile::tempdir()?;
    let node = RunningNode::start(&site, &NodeOrder::production(directory.path(), request.batch_events)).await?;
    let feed = Feed::of(place, &site, &node).await?;
    let mut events = mixed(request.seed, request.events);
    // These events are visible when the whole log is.
    warm(&site, &feed, &mut events).await?;
    let (watch, duration) = (Watch::start(&site.url)?, Duration::from_secs(request.seconds));
    let alone = trickle(&feed, LIGHT_PER_SECOND, &mut events, &watch.appended, |elapsed| elapsed < duration).await?;
    let without: Vec<f64> = watch.end().await?.events.iter().map(|(_, ms)| *ms).collect();
    let when = format!("{LIGHT_PER_SECOND:.0}/s without a rebuild");
    report.figure(MEASURE, format!("{when}: appended"), alone, "events/s");
    tell(report, MEASURE, &when, &without, [None; 2]);
    let watch = Watch::start(&site.url)?;
    let job = JobRequest { detach: true, ..JobRequest::default() };
    let started = Instant::now();
    let JobReply::Begun(begun) = node.ask(RebuildRequest(job)).await? else { bail!("no job was begun") };
    let over = AtomicBool::new(false);
    let rebuilt = async {
        let ended = ended(&node, begun.run.run_id, started).await;
        over.store(true, Ordering::SeqCst);
        ended
    };
    let appended = trickle(&feed, LIGHT_PER_SECOND, &mut events, &watch.appended, |_| !over.load(Ordering::SeqCst));
    let (end, rate) = tokio::join!(rebuilt, appended);
    let (end, rate) = (end?, rate?);
    let seen = watch.end().await?;
    let beside: Vec<f64> = seen.events.iter().filter(|(at, _)| *at <= end).map(|(_, ms)| *ms).collect();
    let when = format!("{LIGHT_PER_SECOND:.0}/s beside a rebuild of {}", request.events);
    report.figure(MEASURE, format!("{when}: the rebuild took"), (end - started).as_secs_f64(), "s");
    report.figure(MEASURE, format!("{when}: appended"), rate, "events/s");
    tell(report, MEASURE, &when, &beside, [None; 2]);
    tell_looks(report, MEASURE, &when, &seen);
    let against = percentile(&beside, 99.0) / percentile(&without, 99.0);
    report.goal(MEASURE, format!("{when}: p99 against without"), against, "x", Goal::AtMost(BESIDE_P99_MAX));
    report.goal(MEASURE, format!("{when}: rate of appends kept"), rate / alone, "", Goal::AtLeast(BESIDE_RATE_MIN));
    drop(feed);
    node.stop().await?;
    place.remove(site).await
}

/// Waits until the job is completed and returns that time.
async fn ended(node: &RunningNode, run_id: Uuid, started: Instant) -> Result<Instant> {
    loop {
        let request = WatchRunRequest { run_id, wait_ms: NEWS_MS };
        let watch = node.ask(request).await?;
        let now = Instant::now();
        let WatchReply { run, .. } = *watch;
        match run.state {
            RunState::Completed => return Ok(now),
            RunState::Queued | RunState::Running => {}
            state => bail!("the rebuild ended {}: {:?}", state.as_str(), run.error),
        }
        anyhow::ensure!(now - started < REBUILD_MAX, "the rebuild does not end");
        // The node answers immediately for a job that is not in its memory any more.
        tokio::time::sleep(Duration::from_millis(NEWS_MS / 10)).await;
    }
}
