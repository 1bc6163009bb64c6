//! A node that is killed in the middle of a catch-up. Measures the time until work continues, in the same data
//! directory and in another.

use super::Request;
use super::cursors::Cursors;
use super::node::{NodeOrder, RunningNode, ms};
use super::place::{Place, Site};
use super::report::{Goal, Report};
use crate::check::trial::read;
use crate::workload::{Profile, Workload};
use anyhow::Result;
use decisiongraph_engine::EngineConfig;
use decisiongraph_projections::{LogSeq, TenantId};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Fewest batches of the whole catch-up: enough for a kill in the middle.
const BATCHES_MIN: u64 = 40;
/// Longest wait for a position.
const POSITION_MAX: Duration = Duration::from_secs(600);
/// Pause between two checks of the cursors.
const PAUSE: Duration = Duration::from_millis(1);

/// Takes the measures that the head of this file names.
pub async fn recovery(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "recovery";
    let lines = Workload::new(Profile::Mixed, request.seed, request.events, 1);
    let log = lines.map(|line| Ok(read(&line)?)).collect::<Result<Vec<_>>>()?;
    let loaded = place.loaded(&log).await?;
    let store = loaded.open(1).await?;
    let last = store.view().await?.last_log_seq(&TenantId::default(), None).await?;
    drop((log, store));
    let batch_events = request.batch_events.min((request.events / BATCHES_MIN).max(1) as usize);
    let lease = EngineConfig::default().lease.min(Duration::from_secs(request.seconds));
    for elsewhere in [false, true] {
        let site = place.copy(&loaded).await?;
        let (first_dir, second_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let first = NodeOrder { lease_ms: ms(lease), ..NodeOrder::production(first_dir.path(), batch_events) };
        let second = match elsewhere {
            false => first.clone(),
            true => NodeOrder { data_dir: second_dir.path().to_owned(), name: "other".to_owned(), ..first.clone() },
        };
        let node = RunningNode::start(&site, &first).await?;
        reached(&site, LogSeq(last.0 / 4)).await?;
        node.kill().await?;
        let killed = Instant::now();
        let at = position(&site).await?;
        anyhow::ensure!(at < last, "the catch-up was over before the node was killed");
        let node = RunningNode::start(&site, &second).await?;
        reached(&site, LogSeq(at.0 + 1)).await?;
        let commits = killed.elapsed().as_secs_f64();
        reached(&site, last).await?;
        let current = killed.elapsed().as_secs_f64();
        let who = if elsewhere { "another node" } else { "the same node again" };
        report.figure(MEASURE, format!("killed, {who}: at this part of the log"), at.0 as f64 / last.0 as f64, "");
        let name = format!("killed, {who}: commits after");
        if elsewhere {
            let name = format!("{name} (lease {} s)", lease.as_secs());
            report.goal(MEASURE, name, commits, "s", Goal::AtMost(lease.as_secs_f64()));
        } else {
            report.figure(MEASURE, name, commits, "s");
        }
        report.figure(MEASURE, format!("killed, {who}: current after"), current, "s");
        node.stop().await?;
        place.remove(site).await?;
    }
    place.remove(loaded).await
}

/// Waits until all projections have at least this position.
async fn reached(site: &Site, wanted: LogSeq) -> Result<()> {
    let url = site.url.clone();
    tokio::task::spawn_blocking(move || {
        let cursors = Cursors::open(&url)?;
        let began = Instant::now();
        while own(&cursors)? < wanted {
            anyhow::ensure!(began.elapsed() < POSITION_MAX, "position {wanted} is not reached");
            std::thread::sleep(PAUSE);
        }
        Ok(())
    })
    .await?
}

/// Returns the position that all projections have reached.
async fn position(site: &Site) -> Result<LogSeq> {
    let url = site.url.clone();
    tokio::task::spawn_blocking(move || own(&Cursors::open(&url)?)).await?
}

fn own(cursors: &Cursors) -> Result<LogSeq> {
    let tenant = TenantId::default();
    let found = cursors.look(&BTreeSet::from([tenant.as_str()]))?;
    Ok(found.get(tenant.as_str()).copied().unwrap_or(LogSeq::ORIGIN))
}
