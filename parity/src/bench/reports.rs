//! Waiting times of an operator for `status`, `health` and `why` over many scopes of which a third fails, asked through
//! a node and directly.

use super::Request;
use super::node::{LOOK_EVERY, NodeOrder, RunningNode};
use super::place::{Place, Site};
use super::report::{Goal, Report, median};
use super::tenants::{EVENTS_EACH, named};
use crate::check::trial::read;
use crate::workload::original;
use anyhow::Result;
use decisiongraph_admin::answer;
use decisiongraph_engine::{Control, Engine, EngineConfig};
use decisiongraph_projections::catalogue;
use decisiongraph_protocol::{Asker, HealthRequest, HealthWord, ScopeFilter, StatusRequest, WhyRequest};
use decisiongraph_store::{AppendMode, Owner, Verdict};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// One tenant of so many gets an event that no projection takes.
const ONE_OF: usize = 3;
/// Questions of each kind. The middle answer counts.
const ASKS: usize = 5;
/// Longest wait until the node has met all these events.
const WAIT_MAX: Duration = Duration::from_secs(1_800);
/// Goal.
const SECONDS_MAX: f64 = 1.0;

/// Takes the measures that the head of this file names. No node may run on this store; all its scopes are current.
pub async fn reports(
    measure: &str,
    request: &Request,
    place: &Place,
    site: &Site,
    order: &NodeOrder,
    report: &mut Report,
) -> Result<()> {
    let scopes = request.tenants * catalogue::ALL.len();
    let failures = spoiled(request, place, site).await? * catalogue::ALL.len();
    let store = site.open(2).await?;
    let node = RunningNode::start(site, order).await?;
    let began = Instant::now();
    while store.view().await?.scope_counts().await?.open_failures < failures as u64 {
        anyhow::ensure!(began.elapsed() < WAIT_MAX, "the node has not met all events that fail");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let owner = Owner { node: "bench".to_owned(), incarnation: Uuid::new_v4() };
    let engine = Engine::new(Arc::clone(&store), owner, EngineConfig::default());
    for asked in [Asked::Node(&node), Asked::Store(&engine)] {
        let way = asked.way();
        let mut tell = |word: &str, seconds: f64| {
            let name = format!("{word} over {scopes} scopes with {failures} failures, {way}");
            report.goal(measure, name, seconds, "s", Goal::AtMost(SECONDS_MAX));
        };
        let (seconds, status) = asked.timed(StatusRequest::default()).await?;
        anyhow::ensure!(status.summary.scopes == scopes as u64, "status knows {} scopes", status.summary.scopes);
        tell("status", seconds);
        let (seconds, health) = asked.timed(HealthRequest::default()).await?;
        anyhow::ensure!(health.health == HealthWord::Failed, "health is {:?}", health.health);
        tell("health", seconds);
        let (seconds, why) = asked.timed(WhyRequest { filter: ScopeFilter::default(), all: false }).await?;
        let told: u64 = why.groups.iter().map(|group| group.scopes).sum();
        anyhow::ensure!(told >= failures as u64, "why groups {told} scopes only");
        tell("why", seconds);
    }
    node.stop().await
}

/// Gives some tenants one more event and spoils it. Returns their number.
async fn spoiled(request: &Request, place: &Place, site: &Site) -> Result<usize> {
    let store = site.open(2).await?;
    let before = store.log_end().await?.sequence;
    let (event, mut tenants) = ([read(&original::event(EVENTS_EACH))?], 0);
    for index in (0..request.tenants).step_by(ONE_OF) {
        let verdicts = store.append(&named(index)?, &event, AppendMode::AllOrNothing).await?;
        anyhow::ensure!(matches!(verdicts[..], [Verdict::Accepted { .. }]), "an event is not stored: {verdicts:?}");
        tenants += 1;
    }
    drop(store);
    place.spoil(site, before).await?;
    place.settle(site).await?;
    Ok(tenants)
}

/// Way of asking.
enum Asked<'a> {
    Node(&'a RunningNode),
    Store(&'a Engine),
}

impl Asked<'_> {
    fn way(&self) -> &'static str {
        match self {
            Asked::Node(_) => "through a node",
            Asked::Store(_) => "directly",
        }
    }

    /// Returns the middle time of several questions, in seconds, and the last answer.
    async fn timed<R: decisiongraph_protocol::Request + Clone>(&self, request: R) -> Result<(f64, R::Reply)> {
        let mut seconds = Vec::new();
        loop {
            let began = Instant::now();
            let reply = match self {
                Asked::Node(node) => node.ask(request.clone()).await?,
                Asked::Store(engine) => {
                    answer(engine, &Asker::here(None), request.clone(), &Control::default()).await?
                }
            };
            seconds.push(began.elapsed().as_secs_f64());
            if seconds.len() == ASKS {
                return Ok((median(&seconds), reply));
            }
        }
    }
}
