//! The database probe checks the database, and publishes its state. All other actors read [`Database`] and wait while
//! it is away.
//!
//! ```text
//!   starting ──probe ok──▶ up ──an actor met a fault: probe fails──▶ down ──probe ok (100 ms … 2 s apart)──▶ up
//! ```
//!
//! *Guarantees.* A database that is away is a state, not a crash: no actor is restarted for it. While it is up, no
//! probe asks it: the actors that work with it notice a fault first.

use crate::board::{Database, DatabaseState, Jitter};
use crate::guard::Guard;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_projections::Category;
use decisiongraph_store::{Backend, NEXT_MIGRATE, Result as StoreResult, SchemaFit, Store, StoreError};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause between two probes of a database that is away.
const PROBES: Pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(2) };

/// Probes the database when it is suspected. In the tree its name is `store_pool`.
pub struct DatabaseProbe {
    /// The database.
    pub store: Arc<dyn Store>,
    /// State that the probe publishes.
    pub database: Database,
    /// Spread of the pauses.
    pub jitter: Jitter,
    /// Entry of the probe in the dump.
    pub vitals: Vitals,
}

/// Messages to the database probe.
#[derive(RactorMessage)]
pub enum DatabaseProbeMessage {
    /// Probe the database now.
    Probe,
}

/// State of the database probe.
pub struct DatabaseProbeState {
    failures: u32,
    /// True when the schema was found to fit this program.
    schema_fits: bool,
    _suspected: Guard,
}

impl Actor for DatabaseProbe {
    type Msg = DatabaseProbeMessage;
    type State = DatabaseProbeState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let suspected = self.database.suspected().wakes(&myself, || DatabaseProbeMessage::Probe);
        Ok(DatabaseProbeState { failures: 0, schema_fits: false, _suspected: suspected })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        DatabaseProbeMessage::Probe: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let DatabaseProbe { store, database, jitter, vitals } = self;
        vitals.noted("probe");
        match look(&**store, state).await {
            Ok(()) => {
                state.failures = 0;
                if !database.is_up() {
                    tracing::info!(address = %store.address(), "the database answers");
                    database.publish(DatabaseState::Up);
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
                database.publish(DatabaseState::Down { since, message: error.message, next: error.next });
                let pause = PROBES.before(state.failures, jitter.draw());
                myself.send_after(pause, || DatabaseProbeMessage::Probe);
            }
        }
        Ok(())
    }
}

/// Checks the database: its schema (once), the conditions for safe reads of its log, and that it can be written.
async fn look(store: &dyn Store, state: &mut DatabaseProbeState) -> StoreResult<()> {
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
