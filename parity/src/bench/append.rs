//! Appends one by one and in batches, by one or several producers at the same time, into one tenant's log or into one
//! log per producer. After each run, its floor: the same rows, by plain INSERTs.

use super::place::{Place, Site};
use super::report::{Goal, Report, median};
use super::{Request, floor_append, measures};
use crate::workload::Profile;
use anyhow::Result;
use decisiongraph_projections::{Admitted, TenantId};
use decisiongraph_store::{AppendMode, Store, Verdict};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

/// Events per append, producers, and events of the run.
const CASES: [(usize, usize, u64); 7] = [
    (1, 1, 2_000),
    (1, 4, 4_000),
    (1, 16, 8_000),
    (100, 1, 20_000),
    (100, 4, 20_000),
    (100, 16, 20_000),
    (1_000, 1, 40_000),
];

/// Measures the cases, each several times.
pub async fn append(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "append";
    for (batch, producers, count) in CASES {
        let events = measures::events(Profile::Mixed, request.seed, count)?;
        for one_tenant in [true, false] {
            if producers == 1 && !one_tenant {
                continue;
            }
            let (mut rates, mut floors) = (Vec::new(), Vec::new());
            for _ in 0..request.repeat {
                let site = place.fresh().await?;
                place.checkpoint().await?;
                let shares = shares(&events, &events, producers);
                rates.push(count as f64 / produced(&site, shares, batch, one_tenant).await?);
                if let Some(took) = floor_append::again(place, &site, batch, producers).await? {
                    floors.push(count as f64 / took.as_secs_f64());
                }
                place.remove(site).await?;
            }
            let how = if batch == 1 { "one by one".to_owned() } else { format!("batches of {batch}") };
            let whose = if one_tenant { "one tenant" } else { "a tenant each" };
            let name = format!("{how}, {producers} producers, {whose}");
            let rate = median(&rates);
            match (batch, producers) {
                (1, 16) if place.is_postgres() => {
                    report.goal(MEASURE, &name, rate, "events/s", Goal::AtLeast(10_000.0));
                }
                _ => report.figure(MEASURE, &name, rate, "events/s"),
            }
            if floors.is_empty() {
                continue;
            }
            let (name, ratio) = (format!("{name}: / floor"), rate / median(&floors));
            let bound = match (place.is_postgres(), batch, producers) {
                (true, 1_000, _) => Some(0.6),
                (true, 1, 16) => Some(0.7),
                (false, 1, 1) => Some(0.9),
                _ => None,
            };
            match bound {
                Some(bound) => report.goal(MEASURE, name, ratio, "", Goal::AtLeast(bound)),
                None => report.figure(MEASURE, name, ratio, ""),
            }
        }
    }
    Ok(())
}

/// Gives each producer whole traces, so that none waits for an event of another: an item per event, in any form.
pub fn shares<T: Clone>(events: &[Admitted], items: &[T], producers: usize) -> Vec<Vec<T>> {
    let mut shares = vec![Vec::new(); producers];
    for (event, item) in events.iter().zip(items) {
        let mut hasher = DefaultHasher::new();
        event.envelope().trace_id.hash(&mut hasher);
        shares[(hasher.finish() % producers as u64) as usize].push(item.clone());
    }
    shares
}

/// Appends all shares at the same time. Returns the seconds that this took.
pub async fn produced(site: &Site, shares: Vec<Vec<Admitted>>, batch: usize, one_tenant: bool) -> Result<f64> {
    let store = site.open(shares.len().max(2)).await?;
    let started = Instant::now();
    let tasks = shares.into_iter().enumerate().map(|(n, share)| {
        let tenant = if one_tenant { "default".to_owned() } else { format!("tenant-{n}") };
        tokio::spawn(produce(Arc::clone(&store), tenant, share, batch))
    });
    for done in futures_util::future::try_join_all(tasks).await? {
        done?;
    }
    Ok(started.elapsed().as_secs_f64())
}

async fn produce(store: Arc<dyn Store>, tenant: String, events: Vec<Admitted>, batch: usize) -> Result<()> {
    let tenant = TenantId::new(tenant)?;
    for events in events.chunks(batch) {
        let verdicts = store.append(&tenant, events, AppendMode::AllOrNothing).await?;
        let refused = verdicts.iter().find(|verdict| !matches!(verdict, Verdict::Accepted { .. }));
        anyhow::ensure!(refused.is_none(), "an event of the workload is not stored: {refused:?}");
    }
    Ok(())
}
