//! Keeps this node's lease: one heartbeat row per node, on the database's clock. Scopes are owned under it.
//!
//! *Guarantees.* The lease validity is counted from before each renewal was asked for. While it is over, no actor on
//! this node starts a batch. When the node stops, it hands over everything that it holds at once, if the database
//! answers.
//!
//! *Never here:* safety. A commit is checked by epoch, cursor and generation in the database, whatever this actor
//! believes.

use crate::board::{Database, Unrenewed};
use crate::guard::Guard;
use crate::signals::Signal;
use decisiongraph_engine::Engine;
use decisiongraph_engine::alive::RENEWALS_PER_LEASE;
use decisiongraph_engine::telemetry::LeaseChange;
use decisiongraph_projections::Category;
use decisiongraph_store::{MemberFacts, Owner, Result as StoreResult, StoreError};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest wait for the hand-over when the node stops.
const LEAVE: Duration = Duration::from_secs(2);

/// Longest wait for the database to name the cause.
const CAUSE: Duration = Duration::from_secs(1);

/// Time after which the cause of a slow renewal is asked for, and between two such questions. The database counts a
/// commit as waiting after one second.
const SLOW: Duration = Duration::from_millis(1_200);

/// The lease keeper's actor.
pub struct LeaseKeeper {
    /// Engine of the node: the database, the node's identity and the length of its lease.
    pub engine: Arc<Engine>,
    /// Identity of this node in its last life, which is dead for certain.
    pub former: Option<Owner>,
    /// Facts that this node tells the others about itself.
    pub facts: MemberFacts,
    /// State of the database.
    pub database: Database,
    /// Reason why the lease is not renewed, which the keeper publishes.
    pub unrenewed: watch::Sender<Option<Unrenewed>>,
    /// Signal that this node holds its lease again, or for the first time.
    pub joined: Signal,
    /// Entry of the keeper in the dump.
    pub vitals: Vitals,
}

/// Messages to the lease keeper.
#[derive(RactorMessage)]
pub enum LeaseKeeperMessage {
    /// Renew now.
    Renew,
}

/// State of the lease keeper.
pub struct LeaseKeeperState {
    /// Task that asks for the first renewal once the database answers.
    _first: Guard,
    /// True when the last renewal failed: a fault is logged once.
    failing: bool,
    /// True when the lease was held at the last check.
    holds: bool,
    /// True when everything that the node's last life held is given up.
    former_gone: bool,
}

impl Actor for LeaseKeeper {
    type Msg = LeaseKeeperMessage;
    type State = LeaseKeeperState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let database = self.database.clone();
        let first = tokio::spawn(async move {
            database.up().await;
            let _ = myself.cast(LeaseKeeperMessage::Renew);
        });
        Ok(LeaseKeeperState { _first: first.into(), failing: false, holds: false, former_gone: self.former.is_none() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        LeaseKeeperMessage::Renew: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let LeaseKeeper { engine, database, vitals, .. } = self;
        let validity = engine.validity();
        vitals.noted("renew");
        let lease = engine.config().lease;
        let asked = Instant::now();
        let answer = self.answered(state, lease).await;
        // Also after a lapse that no actor noticed: the whole process may have been stopped meanwhile.
        let lapsed = validity.left().is_zero();
        let pause = validity.renewed(asked, lease, &answer);
        match answer {
            Ok(()) => {
                self.unrenewed.send_replace(None);
                state.holds = true;
                if lapsed {
                    self.joined.send();
                }
                if std::mem::replace(&mut state.failing, false) {
                    tracing::info!("the lease is renewed again");
                }
                vitals.state("held");
            }
            Err(error) => {
                database.suspect(&error);
                let fenced = error.category == Category::Fenced;
                self.unrenewed(asked, &error);
                let gone = validity.left().is_zero();
                if gone && std::mem::replace(&mut state.holds, false) {
                    engine.telemetry().lease_change(if fenced { LeaseChange::Fenced } else { LeaseChange::Lost });
                }
                vitals.state(match (fenced, gone) {
                    (true, _) => "displaced",
                    (false, true) => "lost",
                    (false, false) => "unrenewed",
                });
                if !std::mem::replace(&mut state.failing, true) {
                    tracing::warn!(category = %error.category, "the lease is not renewed: {}", error.message);
                }
            }
        }
        myself.send_after(pause, || LeaseKeeperMessage::Renew);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, _: &mut Self::State) -> Result<(), ActorProcessingErr> {
        let LeaseKeeper { engine, database, .. } = self;
        engine.validity().end();
        if !database.is_up() {
            return Ok(());
        }
        match tokio::time::timeout(LEAVE, engine.store().leave(engine.owner())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(category = %error.category, "not handed over: {}", error.message),
            Err(_) => tracing::warn!("not handed over within {LEAVE:?}; other nodes take over when the lease ends"),
        }
        Ok(())
    }
}

impl LeaseKeeper {
    /// Renews the lease. A renewal that is not answered while the window is open never will be. The network has
    /// forgotten the connection, and every other session with it. All sessions are given up, so that callers that wait
    /// for an answer go on.
    async fn answered(&self, state: &mut LeaseKeeperState, lease: Duration) -> StoreResult<()> {
        let asked = Instant::now();
        let patience = self.engine.validity().left().max(lease / RENEWALS_PER_LEASE);
        let mut named = None;
        let answered = tokio::select! {
            biased;
            answered = tokio::time::timeout(patience, self.renew(state)) => answered,
            never = self.ask_why(asked, &mut named) => match never {},
        };
        match answered {
            // The session may have been given up with the renewal before.
            Ok(Err(error)) if error.next.is_none() && error.transient => Err(self.cause().await.unwrap_or(error)),
            Ok(renewed) => renewed,
            Err(_) => {
                if named.is_none() {
                    named = self.cause().await;
                }
                self.engine.store().hang_up();
                Err(named.unwrap_or_else(|| {
                    StoreError::transient(
                        Category::Unavailable,
                        format!("no answer within {patience:.1?}; every session with the database is dropped"),
                    )
                }))
            }
        }
    }

    /// Reports why the renewal of `asked` is not answered, as soon and as often as the database names a cause.
    async fn ask_why(&self, asked: Instant, named: &mut Option<StoreError>) -> Infallible {
        loop {
            tokio::time::sleep(SLOW).await;
            if let Some(cause) = self.cause().await {
                self.unrenewed(asked, &cause);
                *named = Some(cause);
            }
        }
    }

    /// Asks the database what keeps this node from writing. None also when the database cannot be asked.
    async fn cause(&self) -> Option<StoreError> {
        let asked = tokio::time::timeout(CAUSE, self.engine.store().writable()).await.ok()?;
        asked.err().filter(|cause| cause.next.is_some())
    }

    fn unrenewed(&self, asked: Instant, error: &StoreError) {
        self.unrenewed.send_modify(|unrenewed| {
            let since = unrenewed.as_ref().map_or(asked, |before| before.since);
            let displaced = error.category == Category::Fenced;
            *unrenewed = Some(Unrenewed { since, cause: error.message.clone(), displaced, next: error.next });
        });
    }

    async fn renew(&self, state: &mut LeaseKeeperState) -> StoreResult<()> {
        let LeaseKeeper { engine, former, facts, .. } = self;
        if let Some(former) = former.as_ref().filter(|_| !state.former_gone) {
            engine.store().leave(former).await?;
            state.former_gone = true;
        }
        engine.store().join(engine.owner(), engine.config().lease, facts).await
    }
}
