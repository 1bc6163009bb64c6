//! The one error of the store: a category of the failure vocabulary, a sentence for people, and whether trying the same
//! thing again can help. Each backend maps its database's errors here and nowhere else.

use decisiongraph_projections::{Category, Refusal};

/// Next step where the schema is missing or old.
pub const NEXT_MIGRATE: &str =
    "have the role that owns the schema run `decisiongraph migrate`; a node then goes on by itself";

/// Next step where commits wait for a synchronous standby.
pub const NEXT_SYNCHRONOUS: &str = "bring that standby back, or take it out of `synchronous_standby_names` and call `pg_reload_conf()`; ending the waiting sessions helps nothing";

/// What a store call may answer.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A failed store call. Never holds a password or a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{category}: {message}")]
pub struct StoreError {
    /// Stable word, decides the exit code.
    pub category: Category,
    /// What happened, to whom, and what to do about it.
    pub message: String,
    /// Whether the same call may succeed later without anybody's doing: connection lost, lock or statement time-out,
    /// deadlock, server starting or stopping.
    pub transient: bool,
    /// A unique key was already there. Inside a batch commit: read the scope again; epoch differs: fenced, cursor
    /// differs: reload, neither: corruption.
    pub duplicate: bool,
    /// The session led to a standby, or to a database that is read-only: the next attempt is made on a new one.
    pub unfit: bool,
    /// The next step, where the category's usual one would be wrong.
    pub next: Option<&'static str>,
}

impl StoreError {
    /// A permanent error.
    pub fn new(category: Category, message: impl Into<String>) -> StoreError {
        StoreError { category, message: message.into(), transient: false, duplicate: false, unfit: false, next: None }
    }

    /// An error that may pass by itself.
    pub fn transient(category: Category, message: impl Into<String>) -> StoreError {
        StoreError { transient: true, ..StoreError::new(category, message) }
    }

    /// The same error with this next step.
    #[must_use]
    pub fn next(self, next: &'static str) -> StoreError {
        StoreError { next: Some(next), ..self }
    }

    /// The same error, met on a session that leads to the wrong place.
    #[must_use]
    pub fn on_an_unfit_session(self) -> StoreError {
        StoreError { unfit: true, ..self }
    }

    /// A unique violation.
    pub fn duplicate(message: impl Into<String>) -> StoreError {
        StoreError { duplicate: true, ..StoreError::new(Category::Storage, message) }
    }

    /// This writer lost its scope to a newer epoch: it changed nothing.
    pub fn fenced(message: impl Into<String>) -> StoreError {
        StoreError::new(Category::Fenced, message)
    }

    /// Something that this program should never have let happen.
    pub fn internal(message: impl Into<String>) -> StoreError {
        StoreError::new(Category::Internal, message)
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> StoreError {
        StoreError::new(refusal.category, refusal.message)
    }
}
