//! State of the database: it can be worked with, or not. One actor checks it; all other actors read [`Database`] and
//! wait while it is away.
//!
//! ```text
//!   starting ──probe ok──▶ up ──an actor met a fault: probe fails──▶ down ──probe ok (100 ms … 2 s apart)──▶ up
//! ```
//!
//! *Guarantees.* A database that is away is a state, not a crash: no actor is restarted for it. While it is up, no
//! probe asks it: the actors that work with it notice a fault first.

use crate::node::Shared;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_projections::Category;
use decisiongraph_store::{Backend, NEXT_MIGRATE, Result as StoreResult, SchemaFit, Scope, StoreError};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Pause between two probes of a database that is away.
const PROBES: Pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(2) };

/// Time without a refusal after which a refusal is logged again. Longer than any pause between two attempts.
const QUIET: Duration = Duration::from_secs(60);

/// State of the database: it can be worked with, or not.
#[derive(Debug, Clone)]
pub enum DatabaseState {
    /// The database was not reached yet.
    Starting,
    /// The database answers.
    Up,
    /// The database does not answer, or cannot serve this program.
    Down {
        /// Time at which the first probe failed.
        since: Instant,
        /// Last message of the database.
        message: String,
        /// Next step, where that is not to bring the database back.
        next: Option<&'static str>,
    },
}

/// Published state, and the way to request a probe. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    state: Arc<watch::Sender<DatabaseState>>,
    poke: Arc<Notify>,
    /// Time at which the database last refused again a batch that it had refused before.
    refused: Arc<Mutex<Option<Instant>>>,
}

impl Default for Database {
    fn default() -> Database {
        let state = Arc::new(watch::Sender::new(DatabaseState::Starting));
        Database { state, poke: Arc::default(), refused: Arc::default() }
    }
}

impl Database {
    /// Returns the state now.
    pub fn state(&self) -> DatabaseState {
        self.state.borrow().clone()
    }

    /// True when the database answers, as far as is known.
    pub fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), DatabaseState::Up)
    }

    /// Waits until the database answers.
    pub async fn up(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.state.subscribe().wait_for(|state| matches!(state, DatabaseState::Up)).await;
    }

    /// Subscribes to the changes of state.
    pub fn changes(&self) -> watch::Receiver<DatabaseState> {
        self.state.subscribe()
    }

    /// Reports a fault that a caller met: the store pool probes the database, if the fault may lie there.
    pub fn suspect(&self, error: &StoreError) {
        if error.transient || error.unfit || error.category == Category::Unavailable {
            self.poke.notify_one();
        }
    }
}

impl Database {
    /// Notes that the database answers, and refused this scope's batch again. The first refusal of all scopes is
    /// logged.
    pub fn refuses(&self, scope: &Scope, error: &StoreError) {
        let now = Instant::now();
        let before = self.refused.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before.is_none_or(|before| now - before > QUIET) {
            tracing::warn!(%scope, category = %error.category, "a batch cannot be stored, and is tried again until it can: {}", error.message);
        }
    }
}

/// Probes the database when it is suspected.
pub struct StorePool(pub Shared, pub Vitals);

/// Messages to the store pool.
#[derive(RactorMessage)]
pub enum StorePoolMessage {
    /// Probe the database now.
    Probe,
}

/// State of the store pool.
pub struct StorePoolState {
    failures: u32,
    /// True when the schema was found to fit this program.
    schema_fits: bool,
    /// Task that forwards pokes; ends with the actor.
    _poked: crate::node::Guard,
}

impl Actor for StorePool {
    type Msg = StorePoolMessage;
    type State = StorePoolState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let _ = myself.cast(StorePoolMessage::Probe);
        let poke = Arc::clone(&self.0.database.poke);
        let poked = tokio::spawn(async move {
            loop {
                poke.notified().await;
                if myself.cast(StorePoolMessage::Probe).is_err() {
                    return;
                }
            }
        });
        Ok(StorePoolState { failures: 0, schema_fits: false, _poked: poked.into() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        StorePoolMessage::Probe: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let StorePool(shared, vitals) = self;
        vitals.noted("probe");
        let database = &shared.database;
        match look(shared, state).await {
            Ok(()) => {
                state.failures = 0;
                if !database.is_up() {
                    tracing::info!(address = %shared.store.address(), "the database answers");
                    database.state.send_replace(DatabaseState::Up);
                }
                vitals.state("up");
            }
            Err(error) => {
                state.failures += 1;
                let since = match database.state() {
                    DatabaseState::Down { since, .. } => since,
                    _ => {
                        tracing::warn!(category = %error.category, "the database is away: {}", error.message);
                        Instant::now()
                    }
                };
                vitals.state("down");
                database.state.send_replace(DatabaseState::Down { since, message: error.message, next: error.next });
                let pause = PROBES.before(state.failures, shared.jitter());
                myself.send_after(pause, || StorePoolMessage::Probe);
            }
        }
        Ok(())
    }
}

/// Checks the database: its schema (once), the conditions for safe reads of its log, and that it can be written.
async fn look(shared: &Shared, state: &mut StorePoolState) -> StoreResult<()> {
    let store = &*shared.store;
    if !state.schema_fits {
        let schema = store.schema_status().await?;
        match schema.fit() {
            SchemaFit::Same => {}
            SchemaFit::ServesOlder => tracing::warn!(
                schema = schema.database,
                program = schema.program,
                "the database's schema is newer than this program, and still serves it: upgrade this node next"
            ),
            // The embedded store belongs to this node alone.
            SchemaFit::Behind if store.backend() == Backend::Sqlite => {
                store.migrate().await?;
            }
            SchemaFit::Behind => {
                return Err(StoreError::new(
                    Category::VersionMismatch,
                    format!(
                        "the database has schema {}, this program needs {}; run `decisiongraph migrate`",
                        schema.database,
                        schema.needed()
                    ),
                )
                .next(NEXT_MIGRATE));
            }
            SchemaFit::TooNew => {
                return Err(StoreError::new(
                    Category::VersionMismatch,
                    format!(
                        "the database has schema {}, which serves programs from schema {} on; this program knows {}; use a newer `decisiongraph`",
                        schema.database, schema.serves_from, schema.program
                    ),
                )
                .next("start this node with a program that knows the schema: the newest `decisiongraph`"));
            }
        }
        state.schema_fits = true;
    }
    store.sample_high_water().await?;
    match store.writable().await {
        // Reads are answered, and a commit that waits is waited for.
        Err(error) if error.transient => Ok(()),
        writable => writable,
    }
}
