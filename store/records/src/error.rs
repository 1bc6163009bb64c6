//! The one error of the store: a category of the failure vocabulary, a sentence for people, and a flag for retries.
//! Each backend maps its database's errors here and nowhere else.

use decisiongraph_projections::{Category, Refusal};

/// Next step when the schema is missing or old.
pub const NEXT_MIGRATE: &str =
    "have the role that owns the schema run `decisiongraph migrate`; a node then continues automatically";

/// Next step when commits wait for a synchronous standby.
pub const NEXT_SYNCHRONOUS: &str = "bring that standby back, or take it out of `synchronous_standby_names` and call `pg_reload_conf()`; ending the waiting sessions does not help";

/// Result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A failed store call. Never holds a password or a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{category}: {message}")]
pub struct StoreError {
    /// Stable word, decides the exit code.
    pub category: Category,
    /// Event, its subject, and the remedy.
    pub message: String,
    /// True when the same call may succeed later without any action. Causes: connection lost, lock or statement
    /// time-out, deadlock, server starting or stopping.
    pub transient: bool,
    /// True when a unique key already existed. Inside a batch commit, read the scope again. A different epoch means
    /// fenced, a different cursor means reload; neither means corruption.
    pub duplicate: bool,
    /// True when the session led to a standby, or to a read-only database. The next attempt uses a new session.
    pub unfit: bool,
    /// Next step, when the category's usual step would be wrong.
    pub next: Option<&'static str>,
}

impl StoreError {
    /// Creates a permanent error.
    pub fn new(category: Category, message: impl Into<String>) -> StoreError {
        StoreError { category, message: message.into(), transient: false, duplicate: false, unfit: false, next: None }
    }

    /// Creates an error that may pass without any action.
    pub fn transient(category: Category, message: impl Into<String>) -> StoreError {
        StoreError { transient: true, ..StoreError::new(category, message) }
    }

    /// Returns the same error with this next step.
    #[must_use]
    pub fn next(self, next: &'static str) -> StoreError {
        StoreError { next: Some(next), ..self }
    }

    /// Returns the same error, marked as met on a session that leads to the wrong server or database.
    #[must_use]
    pub fn on_an_unfit_session(self) -> StoreError {
        StoreError { unfit: true, ..self }
    }

    /// Creates a unique violation.
    pub fn duplicate(message: impl Into<String>) -> StoreError {
        StoreError { duplicate: true, ..StoreError::new(Category::Storage, message) }
    }

    /// Creates the error of a writer that lost its scope to a newer epoch. The writer changed nothing.
    pub fn fenced(message: impl Into<String>) -> StoreError {
        StoreError::new(Category::Fenced, message)
    }

    /// Creates the error of a state that this program must never reach.
    pub fn internal(message: impl Into<String>) -> StoreError {
        StoreError::new(Category::Internal, message)
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> StoreError {
        StoreError::new(refusal.category, refusal.message)
    }
}
