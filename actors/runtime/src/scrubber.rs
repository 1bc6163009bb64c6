//! The scrubber reads the sealed events of this node's tenants again, and compares them with their leaves.
//!
//! *Guarantees.* At most `seal_scrub_events_per_s` events per second, a page at a time. A finding is published at once,
//! and stays until a full round over the tenant does not make it again. Nothing is changed.
//!
//! *Never here:* the comparison ([`decisiongraph_engine::seal::scrub`]).

use crate::board::{Database, PlacementTable, ScrubState, Whose};
use decisiongraph_engine::Engine;
use decisiongraph_engine::seal::scrub::{Scrub, Scrubbed};
use decisiongraph_engine::seal::{SealFinding, Sealing};
use decisiongraph_engine::telemetry::signals;
use decisiongraph_projections::TenantId;
use decisiongraph_store::Result as StoreResult;
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Trees per query, at most.
const TREES_PAGE: usize = 1_000;
/// Steps per second, as long as a step has events.
const STEPS_PER_S: u64 = 4;
/// Events per step, at most.
const STEP_EVENTS_MAX: u64 = 2_000;
/// Pause when no round is due, or after a fault.
const REST: Duration = Duration::from_secs(1);
/// Shortest age of the list of tenants before it is read again.
const LIST_AGE: Duration = Duration::from_secs(5);
/// Longest age of that list.
const LIST_AGE_MAX: Duration = Duration::from_secs(60);

/// The scrubber's actor.
pub struct ScrubberActor {
    /// Engine of the node: the database, the memory budget and the telemetry.
    pub engine: Arc<Engine>,
    /// Sealing of the log.
    pub sealing: Arc<Sealing>,
    /// State of the database.
    pub database: Database,
    /// Node of each tenant.
    pub placement: PlacementTable,
    /// Work of the scrubber, which it publishes.
    pub scrub: watch::Sender<ScrubState>,
    /// Entry of the scrubber in the dump.
    pub vitals: Vitals,
}

/// Messages to the scrubber.
#[derive(RactorMessage)]
pub enum ScrubberMessage {
    /// Compare the next page.
    Step,
}

/// State of the scrubber. A new life begins its rounds anew.
pub struct ScrubberState {
    scrub: Scrub,
    /// This node's tenants with a tree.
    tenants: Vec<TenantId>,
    listed: Option<Instant>,
    findings: BTreeMap<TenantId, Vec<SealFinding>>,
}

impl Actor for ScrubberActor {
    type Msg = ScrubberMessage;
    type State = ScrubberState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        if self.sealing.settings.scrub_events_per_s > 0 {
            let _ = myself.cast(ScrubberMessage::Step);
        } else {
            self.vitals.state("off");
        }
        Ok(ScrubberState { scrub: Scrub::default(), tenants: Vec::new(), listed: None, findings: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        ScrubberMessage::Step: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        self.vitals.noted("step");
        let pause = match self.step(state).await {
            Ok(pause) => pause,
            Err(error) => {
                self.database.suspect(&error);
                tracing::debug!(category = %error.category, "the scrubber was not answered: {}", error.message);
                REST
            }
        };
        myself.send_after(pause, || ScrubberMessage::Step);
        Ok(())
    }
}

impl ScrubberActor {
    /// Compares the next page, and returns the pause after it.
    async fn step(&self, state: &mut ScrubberState) -> StoreResult<Duration> {
        if !self.database.is_up() {
            return Ok(REST);
        }
        if state.listed.is_none_or(|at| at.elapsed() >= LIST_AGE_MAX) {
            self.list(state).await?;
        }
        let rate = self.sealing.settings.scrub_events_per_s.max(1);
        let page = rate.div_ceil(STEPS_PER_S).min(STEP_EVENTS_MAX);
        let events = usize::try_from(page).unwrap_or(usize::MAX);
        self.vitals.working_on("comparing");
        let Some(scrubbed) = state.scrub.step(&self.engine, &state.tenants, events).await? else {
            self.vitals.working_on("");
            if state.listed.is_none_or(|at| at.elapsed() >= LIST_AGE) {
                self.list(state).await?;
            }
            return Ok(REST);
        };
        let read = scrubbed.events;
        self.engine.telemetry().add(&signals::SEAL_SCRUBBED, read, &[]);
        self.note(state, scrubbed);
        Ok(Duration::from_secs_f64(read.max(1) as f64 / rate as f64).max(Duration::from_millis(1)))
    }

    /// Lists the tenants of this node that have a tree.
    async fn list(&self, state: &mut ScrubberState) -> StoreResult<()> {
        let view = self.engine.store().view().await?;
        let (mut tenants, mut after) = (Vec::new(), None);
        loop {
            let page = view.seal_heads(after.as_ref(), TREES_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.tenant.clone());
            tenants.extend(page.into_iter().map(|tree| tree.tenant));
        }
        tenants.retain(|tenant| self.placement.whose(&self.engine.owner().node, tenant) == Whose::Ours);
        state.findings.retain(|tenant, _| tenants.contains(tenant));
        (state.tenants, state.listed) = (tenants, Some(Instant::now()));
        Ok(())
    }

    /// Notes and publishes what a step found.
    fn note(&self, state: &mut ScrubberState, scrubbed: Scrubbed) {
        let known = state.findings.entry(scrubbed.tenant.clone()).or_default();
        for finding in scrubbed.findings {
            if !known.iter().any(|known| known.word == finding.word) {
                tracing::error!(tenant = %scrubbed.tenant, "the log is not what was sealed: {finding}");
                known.push(finding);
            }
        }
        if let Some(round) = scrubbed.round {
            *known = round;
        }
        state.findings.retain(|_, findings| !findings.is_empty());
        let of = |(tenant, findings): (&TenantId, &Vec<SealFinding>)| {
            findings.iter().map(|finding| (tenant.clone(), finding.clone())).collect::<Vec<_>>()
        };
        let findings = state.findings.iter().flat_map(of).collect();
        let rounds = state.tenants.iter().filter_map(|tenant| Some((tenant.clone(), state.scrub.rounds(tenant)?)));
        self.scrub.send_replace(ScrubState { findings, rounds: rounds.collect() });
    }
}
