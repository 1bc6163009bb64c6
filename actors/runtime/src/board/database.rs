//! State of the database: it can be worked with, or not. The database probe checks it; all other parts read it and wait
//! while the database is away.

use crate::signals::Signal;
use decisiongraph_projections::Category;
use decisiongraph_store::{Scope, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

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

/// Published state, and the signal that requests a probe. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    state: watch::Sender<DatabaseState>,
    suspected: Signal,
    /// Time at which the database last refused again a batch that it had refused before.
    refused: Arc<Mutex<Option<Instant>>>,
}

impl Default for Database {
    fn default() -> Database {
        let state = watch::Sender::new(DatabaseState::Starting);
        Database { state, suspected: Signal::default(), refused: Arc::default() }
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

    /// Reports a fault that a caller met: the database probe checks the database, if the fault may lie there.
    pub fn suspect(&self, error: &StoreError) {
        if error.transient || error.unfit || error.category == Category::Unavailable {
            self.suspected.send();
        }
    }

    /// Returns the signal that the database is suspected, for the database probe.
    pub fn suspected(&self) -> &Signal {
        &self.suspected
    }

    /// Publishes a new state. Called by the database probe alone.
    pub fn publish(&self, state: DatabaseState) {
        self.state.send_replace(state);
    }

    /// Notes that the database answers, and refused this scope's batch again. The first refusal of all scopes is
    /// logged.
    pub fn refuses(&self, scope: &Scope, error: &StoreError) {
        let now = Instant::now();
        let before = self.refused.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before.is_none_or(|before| now - before > QUIET) {
            tracing::warn!(%scope, category = %error.category, "a batch cannot be stored and is retried until it can: {}", error.message);
        }
    }
}
