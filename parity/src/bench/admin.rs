//! Waiting times of an operator: for one small answer over an open session, and for a whole run of the command line.
//! The third time is for the dump of a node on which every scope has its actors. The last ones are for `status`,
//! `health` and `why` ([`super::reports`]).

use super::Request;
use super::node::{NodeOrder, RunningNode};
use super::place::Place;
use super::report::{Goal, Report, percentile};
use super::reports::reports;
use super::tenants::{all_current, empty_node_bytes, prepared};
use anyhow::{Context as _, Result};
use decisiongraph_projections::catalogue;
use decisiongraph_protocol::{ListRequest, RunsRequest};
use decisiongraph_runtime::node::TREE_ACTORS_MAX;
use decisiongraph_store::launch;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Most small requests.
const ASKS_MAX: usize = 2_000;
/// Most runs of the command line.
const PROCESSES_MAX: usize = 100;
/// Actors of a tenant: its supervisor, its coordinator, the supervisor of its workers, and one worker per projection.
const TENANT_ACTORS: usize = 3 + catalogue::ALL.len();
/// Time after which a tenant is passivated, milliseconds: longer than this is measured.
const NEVER_MS: u64 = 86_400_000;
/// Goals.
const ROUND_TRIP_MS_MAX: f64 = 5.0;
const PROCESS_MS_MAX: f64 = 30.0;
const DUMP_SECONDS_MAX: f64 = 1.0;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Takes the measures that the head of this file names.
pub async fn admin(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "admin";
    let empty = empty_node_bytes(request, place).await?;
    let (site, last) = prepared(place, request.tenants).await?;
    let store = site.open(2).await?;
    let directory = tempfile::tempdir()?;
    let order = NodeOrder {
        tenants_max: request.tenants,
        passivate_after_ms: NEVER_MS,
        ..NodeOrder::production(directory.path(), request.batch_events)
    };
    let node = RunningNode::start(&site, &order).await?;
    all_current(&store, &last, Instant::now()).await?;
    let scopes = request.tenants * catalogue::ALL.len();
    if let (Some(now), Some(empty)) = (node.resident_bytes(), empty) {
        report.figure(MEASURE, format!("memory, actors of {scopes} scopes"), now as f64 / MIB, "MiB");
        report.figure(
            MEASURE,
            "memory a scope that runs",
            now.saturating_sub(empty) as f64 / scopes as f64 / KIB,
            "KiB",
        );
    }

    let longest = Duration::from_secs(request.seconds);
    let mut trips = Vec::new();
    let began = Instant::now();
    while trips.is_empty() || (trips.len() < ASKS_MAX && began.elapsed() < longest) {
        let asked = Instant::now();
        let list = ListRequest { limit: 1, ..ListRequest::default() };
        node.ask(RunsRequest(list)).await?;
        trips.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    report.figure(MEASURE, "round trip, small reply, p50", percentile(&trips, 50.0), "ms");
    let p99 = percentile(&trips, 99.0);
    report.goal(MEASURE, "round trip, small reply, p99", p99, "ms", Goal::AtMost(ROUND_TRIP_MS_MAX));

    match command_line()? {
        Some(program) => {
            let mut whole = Vec::new();
            let began = Instant::now();
            while whole.is_empty() || (whole.len() < PROCESSES_MAX && began.elapsed() < longest) {
                whole.push(process_ms(&program, directory.path()).await?);
            }
            report.figure(MEASURE, "whole process of `decisiongraph runs`, p50", percentile(&whole, 50.0), "ms");
            let p99 = percentile(&whole, 99.0);
            report.goal(MEASURE, "whole process of `decisiongraph runs`, p99", p99, "ms", Goal::AtMost(PROCESS_MS_MAX));
        }
        None => {
            report.settings.push(("not measured".to_owned(), "`decisiongraph` is not beside this program".to_owned()))
        }
    }

    let began = Instant::now();
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = node.tree(after, TREE_ACTORS_MAX).await?;
        after = page.next.clone();
        pages.push(page);
        if after.is_none() {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let actors: usize = pages.iter().map(|page| page.actors.len()).sum();
    anyhow::ensure!(actors >= request.tenants * TENANT_ACTORS, "the dump has {actors} actors only");
    let differ: usize = pages.iter().map(|page| page.disagreements.len()).sum();
    let mut bytes = 0;
    for page in pages.iter() {
        bytes += serde_json::to_vec(page)?.len();
    }
    let count = pages.len() as f64;
    report.goal(MEASURE, format!("dump of {scopes} scopes, all pages"), seconds, "s", Goal::AtMost(DUMP_SECONDS_MAX));
    report.figure(MEASURE, "dump: pages", count, "");
    report.figure(MEASURE, "dump: actors", actors as f64, "");
    report.figure(MEASURE, "dump: size", bytes as f64 / MIB, "MiB");
    report.goal(MEASURE, "dump: disagreements with the database", differ as f64, "", Goal::AtMost(0.0));
    let began = Instant::now();
    node.tree(None, 1).await?;
    report.figure(MEASURE, "dump: its comparison with the database alone", began.elapsed().as_secs_f64(), "s");
    node.stop().await?;
    drop(store);
    reports(MEASURE, request, place, &site, &order, report).await?;
    place.remove(site).await
}

/// Finds the program of the command line, if it is beside this one.
pub fn command_line() -> Result<Option<PathBuf>> {
    let own = std::env::current_exe().context("where this program is")?;
    Ok(own.parent().map(|directory| directory.join("decisiongraph")).filter(|program| program.is_file()))
}

/// Runs the command line against the node once. Returns the time from start to end, milliseconds.
async fn process_ms(program: &Path, data_dir: &Path) -> Result<f64> {
    let began = Instant::now();
    let status = tokio::process::Command::from(launch::program(program))
        .args(["runs", "--limit", "1", "--json", "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .await?;
    anyhow::ensure!(status.success(), "`decisiongraph runs` ended with {status}");
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}
