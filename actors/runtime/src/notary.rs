//! The notary signs the heads of sealed logs when they are due, and brings the notes to the database and the places.
//!
//! ```text
//!   start, new era, sweep ──▶ trees without a checkpoint ──▶ checked ──┐
//!   a worker sealed a batch ──▶ called ─────────────────────────────────┴──▶ due? ──▶ sign ──▶ publish (a task)
//! ```
//!
//! *Guarantees.* Signing waits for the journal alone: places are served by a task of its own. Trees of tenants whose
//! actors do not run are found in the database, at the start and at each sweep. After a change of the server's history
//! nothing is signed that was not checked since. A stop signs what is committed.
//!
//! *Never here:* safety. The engine decides what may be signed ([`decisiongraph_engine::seal::notary`]).

use crate::board::{Database, MarkState, PlacementTable, SealWindow, Whose};
use crate::guard::Guard;
use crate::tenants::{Tenants, place_of};
use decisiongraph_admin::overview::LAG_EVENTS_MAX;
use decisiongraph_engine::Engine;
use decisiongraph_engine::seal::sealer::take_up;
use decisiongraph_engine::seal::{Sealing, notary};
use decisiongraph_engine::telemetry::signals;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_store::{Result as StoreResult, TreeState};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Trees per query, at most.
const TREES_PAGE: usize = 1_000;
/// Pause between two measurements of the window.
const MEASURE_EVERY: Duration = Duration::from_secs(2);
/// Tenants whose window is shown, at most; also the scopes whose lag is counted at a time.
const WINDOWS_MAX: usize = 300;
/// Longest wait for the signatures when the node stops.
const LAST: Duration = Duration::from_secs(2);
/// Pause of the publisher after a round that left something.
const PUBLISH_PAUSE: Duration = Duration::from_millis(50);

/// The notary's actor.
pub struct Notary {
    /// Engine of the node: the database, and the node's identity.
    pub engine: Arc<Engine>,
    /// Sealing of the log.
    pub sealing: Arc<Sealing>,
    /// State of the database.
    pub database: Database,
    /// End of the log.
    pub mark: watch::Receiver<MarkState>,
    /// Node of each tenant.
    pub placement: PlacementTable,
    /// Tenants with actors.
    pub tenants: Tenants,
    /// Window of this node's tenants, which the notary publishes.
    pub window: watch::Sender<SealWindow>,
    /// Pause between two searches for trees without a checkpoint.
    pub sweep: Duration,
    /// Entry of the notary in the dump.
    pub vitals: Vitals,
}

/// Messages to the notary.
#[derive(RactorMessage)]
pub enum NotaryMessage {
    /// Sign what is due.
    Look,
    /// Find trees without a checkpoint.
    Sweep,
    /// Measure the window.
    Measure,
    /// The database is back, or its history is another one.
    Return,
}

/// State of the notary.
pub struct NotaryState {
    /// Era of what is known of the trees.
    era: Option<u64>,
    /// Alarm of the next head that is due.
    alarm: Option<Guard>,
    /// Wakes the publisher.
    signed: Arc<Notify>,
    _tasks: [Guard; 3],
}

impl Actor for Notary {
    type Msg = NotaryMessage;
    type State = NotaryState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let signed = Arc::<Notify>::default();
        let tasks = [self.hear_growth(&myself), self.hear_return(&myself), self.publish(Arc::clone(&signed))];
        let _ = myself.cast(NotaryMessage::Sweep);
        myself.send_interval(self.sweep, || NotaryMessage::Sweep);
        myself.send_interval(MEASURE_EVERY, || NotaryMessage::Measure);
        Ok(NotaryState { era: None, alarm: None, signed, _tasks: tasks })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let era = self.mark.borrow().era;
        if state.era.replace(era) != Some(era) {
            // What was committed in another history may be gone.
            self.sealing.unsettle();
        }
        let done = match message {
            NotaryMessage::Look => {
                self.vitals.noted("look");
                Ok(())
            }
            NotaryMessage::Measure => self.measure().await,
            NotaryMessage::Sweep | NotaryMessage::Return => {
                self.vitals.noted("sweep");
                self.take_up().await
            }
        };
        if let Err(error) = done {
            self.database.suspect(&error);
            tracing::debug!(category = %error.category, "the notary was not answered: {}", error.message);
        }
        self.sign().await;
        state.signed.notify_one();
        state.alarm = self.alarm(&myself);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, _: &mut Self::State) -> Result<(), ActorProcessingErr> {
        if !self.database.is_up() {
            return Ok(());
        }
        for log in self.sealing.unsigned() {
            self.sealing.hurry(&log.tenant);
        }
        let last = async {
            self.sign().await;
            notary::publish(&**self.engine.store(), &self.sealing).await;
        };
        // The next owner signs what is left.
        let _ = tokio::time::timeout(LAST, last).await;
        Ok(())
    }
}

impl Notary {
    /// Looks whenever a tree has grown.
    fn hear_growth(&self, myself: &ActorRef<NotaryMessage>) -> Guard {
        let (sealing, myself) = (Arc::clone(&self.sealing), myself.clone());
        let task = tokio::spawn(async move {
            loop {
                sealing.called().await;
                if myself.cast(NotaryMessage::Look).is_err() {
                    return;
                }
            }
        });
        task.into()
    }

    /// Takes trees up again whenever the era changes, or the database is back.
    fn hear_return(&self, myself: &ActorRef<NotaryMessage>) -> Guard {
        let (database, mut mark, myself) = (self.database.clone(), self.mark.clone(), myself.clone());
        let task = tokio::spawn(async move {
            loop {
                database.up().await;
                let era = mark.borrow_and_update().era;
                if myself.cast(NotaryMessage::Return).is_err() || mark.wait_for(|state| state.era != era).await.is_err()
                {
                    return;
                }
            }
        });
        task.into()
    }

    /// Brings notes out whenever there are some, beside the signing.
    fn publish(&self, signed: Arc<Notify>) -> Guard {
        let (engine, sealing, database) = (Arc::clone(&self.engine), Arc::clone(&self.sealing), self.database.clone());
        let task = tokio::spawn(async move {
            loop {
                database.up().await;
                notary::publish(&**engine.store(), &sealing).await;
                let pause = sealing.next_due(Instant::now()).unwrap_or(Duration::MAX).max(PUBLISH_PAUSE);
                let _ = tokio::time::timeout(pause, signed.notified()).await;
            }
        });
        task.into()
    }

    /// Signs what is due.
    async fn sign(&self) {
        if !self.database.is_up() {
            return;
        }
        self.vitals.working_on("signing");
        let signed = notary::sign_due(&**self.engine.store(), &self.sealing).await;
        if signed > 0 {
            self.engine.telemetry().add(&signals::SEAL_SIGNED, signed as u64, &[]);
        }
        self.vitals.working_on("");
    }

    /// Sets the alarm for the next head that is due.
    fn alarm(&self, myself: &ActorRef<NotaryMessage>) -> Option<Guard> {
        let wait = self.sealing.next_due(Instant::now())?.max(PUBLISH_PAUSE);
        let myself = myself.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = myself.cast(NotaryMessage::Look);
        });
        Some(task.into())
    }

    /// Takes up the trees of this node's tenants whose newest head has no checkpoint. Their actors need not run.
    async fn take_up(&self) -> StoreResult<()> {
        if !self.database.is_up() {
            return Ok(());
        }
        let store = self.engine.store();
        let mut after: Option<TenantId> = None;
        loop {
            let view = store.view().await?;
            let page = view.seal_heads(after.as_ref(), TREES_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.tenant.clone());
            for tree in page {
                let lacks = tree.noted < tree.head.size && tree.state == TreeState::Open;
                if lacks && !self.sealing.knows(&tree.tenant) && self.is_ours(&tree.tenant) {
                    self.vitals.working_on(format!("checking the tree of {}", tree.tenant));
                    match take_up(&*view, &self.sealing, &tree).await {
                        Ok(None) => {}
                        Ok(Some(finding)) => tracing::error!(tenant = %tree.tenant, "sealing stops: {finding}"),
                        Err(error) if error.transient => return Err(error),
                        // One tenant's memory does not keep the others waiting.
                        Err(error) => tracing::warn!(tenant = %tree.tenant, "not signed: {}", error.message),
                    }
                }
            }
        }
        Ok(())
    }

    fn is_ours(&self, tenant: &TenantId) -> bool {
        self.placement.whose(&self.engine.owner().node, tenant) == Whose::Ours
    }

    /// Publishes the ages of events that no checkpoint in a place covers.
    async fn measure(&self) -> StoreResult<()> {
        let mut ages: BTreeMap<TenantId, Duration> = BTreeMap::new();
        for log in self.sealing.unsigned() {
            ages.insert(log.tenant, log.since.elapsed());
        }
        for (tenant, age) in self.sealing.unplaced() {
            let known = ages.entry(tenant).or_default();
            *known = age.max(*known);
        }
        let place = place_of(SEAL);
        let cells = self.tenants.cells().into_iter();
        let behind = cells.map(|cell| (cell.tenant.clone(), cell.live(place).cursor, cell.target()));
        let behind: Vec<_> = behind.filter(|(_, cursor, target)| cursor < target).take(WINDOWS_MAX).collect();
        let mut unsealed = 0;
        if !behind.is_empty() && self.database.is_up() {
            let cursors: Vec<_> = behind.into_iter().map(|(tenant, cursor, _)| (tenant, cursor)).collect();
            let mark = self.mark.borrow().mark;
            let lags = self.engine.store().view().await?.lags(&cursors, mark, LAG_EVENTS_MAX).await?;
            for ((tenant, _), lag) in cursors.into_iter().zip(lags) {
                unsealed += lag.events;
                let age = Duration::from_secs_f64(lag.seconds.max(0.0));
                let known = ages.entry(tenant).or_default();
                *known = age.max(*known);
            }
        }
        let mut tenants: Vec<(TenantId, Duration)> = ages.into_iter().collect();
        tenants.sort_by_key(|(_, age)| std::cmp::Reverse(*age));
        tenants.truncate(WINDOWS_MAX);
        self.window.send_replace(SealWindow { tenants, unsealed });
        Ok(())
    }
}
