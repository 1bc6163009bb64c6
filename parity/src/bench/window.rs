//! The window of the seal: the time from the return of an append to the first checkpoint in a place that covers its
//! event. Measured on a running node with one directory place, at a steady rate.

use super::Request;
use super::cursors::Appended;
use super::freshness::{Feed, mixed, shares, trickles};
use super::node::{NodeOrder, RunningNode, SealOrder, ms};
use super::place::Place;
use super::report::{Report, percentile};
use anyhow::{Result, bail, ensure};
use decisiongraph_engine::seal::SealSettings;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::texts::origin_of;
use decisiongraph_seal::{Folder, Place as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const MEASURE: &str = "window";
/// Events per second, and producers.
const PER_SECOND: f64 = 1_000.0;
const PRODUCERS: usize = 4;
/// Shortest time of appends: several checkpoints.
const LEAST: Duration = Duration::from_secs(60);
/// Share of events that are prepared and not needed, because producers do not get equal shares.
const SPARE: f64 = 0.5;
/// Pause between two looks at the place.
const LOOK: Duration = Duration::from_millis(10);
/// Longest wait for the last checkpoint.
const LAST_MAX: Duration = Duration::from_secs(120);
/// A checkpoint interval that is not the default, in milliseconds.
const SHORT_MS: u64 = 1_000;
/// Size that stands for: not known yet.
const UNKNOWN: u64 = u64::MAX;

/// Measures with the default interval of checkpoints, and with one of a second.
pub async fn window(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    for checkpoint_ms in [ms(SealSettings::default().checkpoint), SHORT_MS] {
        measured(request, place, checkpoint_ms, report).await?;
    }
    Ok(())
}

async fn measured(request: &Request, place: &Place, checkpoint_ms: u64, report: &mut Report) -> Result<()> {
    let (site, directory) = (place.fresh().await?, tempfile::tempdir()?);
    let kept = directory.path().join("place");
    let seal = SealOrder { journal: directory.path().join("journal"), place: kept.clone(), checkpoint_ms };
    std::fs::create_dir_all(&kept)?;
    let order = NodeOrder { seal: Some(seal), ..NodeOrder::production(directory.path(), request.batch_events) };
    let node = RunningNode::start(&site, &order).await?;
    let feed = Feed::of(place, &site, &node).await?;
    let duration = Duration::from_secs(request.seconds).max(LEAST);
    let count = (PER_SECOND * duration.as_secs_f64() * (1.0 + SPARE)) as usize;
    let events = shares(mixed(request.seed, 0).take(count), PRODUCERS)?;
    let needed = Arc::new(AtomicU64::new(UNKNOWN));
    let looks = std::thread::spawn({
        let needed = Arc::clone(&needed);
        move || looked(kept, &needed)
    });
    let (appended, told) = channel();
    let rate = trickles(&feed, PER_SECOND, events, &appended, duration).await?;
    drop(appended);
    let mut events: Vec<Appended> = told.into_iter().collect();
    needed.store(events.len() as u64, Ordering::Relaxed);
    let seen = tokio::task::spawn_blocking(move || looks.join()).await?;
    let Ok(seen) = seen else { bail!("the looks at the place ended early") };
    // The leaves are the events of the log in its order.
    events.sort_by_key(|event| event.log_seq);
    let waits = waits(&events, &seen?)?;
    let when = format!("a checkpoint every {checkpoint_ms} ms");
    report.figure(MEASURE, format!("{when}: appended"), rate, "events/s");
    for (name, share) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
        report.figure(
            MEASURE,
            format!("{when}: append to checkpoint in the place, {name}"),
            percentile(&waits, share),
            "ms",
        );
    }
    drop(feed);
    node.stop().await?;
    place.remove(site).await
}

/// Watches the place until its newest checkpoint covers all that is needed. Returns each new size and its time.
fn looked(place: PathBuf, needed: &AtomicU64) -> Result<Vec<(u64, Instant)>> {
    let (place, origin) = (Folder::new(&place), origin_of(super::seal::NAME, &TenantId::default()));
    let (mut seen, mut last, mut due) = (Vec::new(), 0, None);
    loop {
        let size = place.newest(&origin)?.map_or(0, |note| note.size);
        if size > last {
            last = size;
            seen.push((size, Instant::now()));
        }
        let needed = needed.load(Ordering::Relaxed);
        if last >= needed {
            return Ok(seen);
        }
        if needed != UNKNOWN && due.get_or_insert_with(|| Instant::now() + LAST_MAX) < &mut Instant::now() {
            bail!("the newest checkpoint covers {last} of {needed} events");
        }
        std::thread::sleep(LOOK);
    }
}

/// Computes the time of each event, in milliseconds.
fn waits(events: &[Appended], seen: &[(u64, Instant)]) -> Result<Vec<f64>> {
    let mut waits = Vec::with_capacity(events.len());
    for (event, index) in events.iter().zip(0..) {
        let covering = seen.partition_point(|(size, _)| *size <= index);
        ensure!(covering < seen.len(), "no checkpoint covers event {index}");
        waits.push(seen[covering].1.saturating_duration_since(event.at).as_secs_f64() * 1_000.0);
    }
    Ok(waits)
}
