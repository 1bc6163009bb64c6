//! A request that could not be answered: its meaning, and the next step.

use decisiongraph_projections::{Category, Refusal};
use decisiongraph_records::StoreError;
use serde::{Deserialize, Serialize};

/// The error object of every command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{category}: {message}")]
pub struct AdminError {
    /// Stable category; decides the exit code.
    pub category: Category,
    /// Description of the error.
    pub message: String,
    /// Next step for the reader.
    pub next: String,
}

impl AdminError {
    /// Makes an error with the usual advice for its category.
    pub fn new(category: Category, message: impl Into<String>) -> AdminError {
        AdminError { category, message: message.into(), next: usual_next(category, false).to_owned() }
    }

    /// True when the same request would be refused in the same way next time.
    pub fn is_final(&self) -> bool {
        !matches!(
            self.category,
            Category::Unavailable
                | Category::Storage
                | Category::OutcomeUnknown
                | Category::Fenced
                | Category::Internal
        )
    }

    /// True when the error has the usual advice for its category.
    pub fn has_usual_next(&self) -> bool {
        [false, true].iter().any(|transient| self.next == usual_next(self.category, *transient))
    }

    /// Replaces the advice of the error.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> AdminError {
        AdminError { next: next.into(), ..self }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> AdminError {
        let next = error.next.unwrap_or_else(|| usual_next(error.category, error.transient)).to_owned();
        AdminError { category: error.category, message: error.message, next }
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> AdminError {
        AdminError::new(refusal.category, refusal.message)
    }
}

/// Returns the advice for an error of this category, when nothing more is known.
fn usual_next(category: Category, transient: bool) -> &'static str {
    match category {
        Category::SchemaViolation => "correct the event and append it again; nothing of it was stored",
        Category::Conflict => "check what is stored (`decisiongraph status`, `decisiongraph runs`) before trying again",
        Category::EventSequenceInvalid => {
            "append the trace's events in order, from trace_seq 0; the command `trace` shows what is stored"
        }
        Category::Storage if transient => "try again; the fault may be temporary",
        Category::Storage => "check the database: space, permissions, its own log",
        Category::Fenced => "another process owns this now; `decisiongraph status` shows which",
        Category::ProjectionOutOfDate => {
            "catch the projection up, wait longer (--wait), or accept an older answer (--allow-stale)"
        }
        Category::InvalidArgument => "see the command's --help",
        Category::IdempotencyConflict => {
            "the same producer used this idempotency key for another event; use a new key for a new event"
        }
        Category::PiiViolation => "remove the credential from the event and append it again",
        Category::NotFound => "check the id and the --tenant",
        Category::Unavailable if transient => "try again when the database is back",
        Category::Unavailable => "check the address (--database, DATABASE_URL) and that the database runs",
        Category::Unauthorized => "check user, password and privileges of the database role",
        Category::VersionMismatch => "run `decisiongraph migrate`, or use a program of the database's version",
        Category::OutcomeUnknown => "it may or may not have happened; check `decisiongraph status` before repeating it",
        Category::Internal => "this is a defect of the program; please report it with the message above",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_says_what_to_do() {
        for category in Category::ALL {
            assert!(!AdminError::new(category, "x").next.is_empty());
        }
    }
}
