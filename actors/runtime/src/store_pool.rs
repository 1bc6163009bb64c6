//! Whether the database can be worked with. One actor looks, everybody else reads [`Database`] and waits while it is away.
//!
//! ```text
//!   starting ──probe ok──▶ up ──somebody met a fault: probe fails──▶ down ──probe ok (100 ms … 2 s apart)──▶ up
//! ```
//!
//! *Guarantees.* A database that is away is a state, not a crash: no actor is restarted for it. While it is up nothing is asked:
//! those who work with it notice first.

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

/// Between two probes of a database that is away.
const PROBES: Pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(2) };

/// A refusal after so long without one is told again: longer than any pause between two attempts.
const QUIET: Duration = Duration::from_secs(60);

/// Whether the database can be worked with.
#[derive(Debug, Clone)]
pub enum DatabaseState {
    /// It was not reached yet.
    Starting,
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// Since when.
        since: Instant,
        /// What it said last.
        message: String,
        /// The next step, where bringing it back is none.
        next: Option<&'static str>,
    },
}

/// The published state, and the way to have it looked at. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    state: Arc<watch::Sender<DatabaseState>>,
    poke: Arc<Notify>,
    /// When it last refused a batch again that it had refused before.
    refused: Arc<Mutex<Option<Instant>>>,
}

impl Default for Database {
    fn default() -> Database {
        let state = Arc::new(watch::Sender::new(DatabaseState::Starting));
        Database { state, poke: Arc::default(), refused: Arc::default() }
    }
}

impl Database {
    /// The state now.
    pub fn state(&self) -> DatabaseState {
        self.state.borrow().clone()
    }

    /// Whether it answers, as far as is known.
    pub fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), DatabaseState::Up)
    }

    /// Waits until it answers.
    pub async fn up(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.state.subscribe().wait_for(|state| matches!(state, DatabaseState::Up)).await;
    }

    /// Waits for the next change of state.
    pub fn changes(&self) -> watch::Receiver<DatabaseState> {
        self.state.subscribe()
    }

    /// Somebody met this fault: have a look.
    pub fn suspect(&self, error: &StoreError) {
        if error.transient || error.unfit || error.category == Category::Unavailable {
            self.poke.notify_one();
        }
    }
}

impl Database {
    /// It answers, and refused this scope's batch again: the first of all scopes has a line in the log.
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

/// What it is told.
#[derive(RactorMessage)]
pub enum StorePoolMessage {
    /// Look now.
    Probe,
}

/// Its memory.
pub struct StorePoolState {
    failures: u32,
    /// The schema was found to be this program's.
    schema_fits: bool,
    /// Forwards pokes; ends with the actor.
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

/// Whether the database can be worked with: its schema (once), and the conditions under which its log is read safely.
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
                        schema.database, schema.program
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
