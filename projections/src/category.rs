//! The failure vocabulary: few, stable words that every layer, exit code and runbook section shares. A new word is an
//! interface change.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Kind of a failure. Stable: operators script against [`Category::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The data does not have the shape that the reference requires.
    SchemaViolation,
    /// The data contradicts what is stored (a hash, a finished trace, a reused event id).
    Conflict,
    /// `trace_seq` is not the next number of its trace.
    EventSequenceInvalid,
    /// The database failed. The error says if another attempt can help.
    Storage,
    /// Another owner has taken over. This writer changed nothing and must stop.
    Fenced,
    /// The projection has not yet seen the tenant's last event.
    ProjectionOutOfDate,
    /// The request itself is wrong.
    InvalidArgument,
    /// The same producer used the same idempotency key for a different event.
    IdempotencyConflict,
    /// A secret or personal credential was found in the event.
    PiiViolation,
    /// The named thing does not exist.
    NotFound,
    /// No node or no database can be reached, or the request cannot be served now.
    Unavailable,
    /// Wrong or missing credentials.
    Unauthorized,
    /// Two versions do not match: program and program, or program and schema.
    VersionMismatch,
    /// The connection was lost while a command was under way. The command may or may not have taken effect.
    OutcomeUnknown,
    /// A defect of this program.
    Internal,
}

impl Category {
    /// Every category, in the order of the documentation.
    pub const ALL: [Category; 15] = [
        Category::SchemaViolation,
        Category::Conflict,
        Category::EventSequenceInvalid,
        Category::Storage,
        Category::Fenced,
        Category::ProjectionOutOfDate,
        Category::InvalidArgument,
        Category::IdempotencyConflict,
        Category::PiiViolation,
        Category::NotFound,
        Category::Unavailable,
        Category::Unauthorized,
        Category::VersionMismatch,
        Category::OutcomeUnknown,
        Category::Internal,
    ];

    /// Returns the stable word, as in JSON, logs and the runbook.
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::SchemaViolation => "schema_violation",
            Category::Conflict => "conflict",
            Category::EventSequenceInvalid => "event_sequence_invalid",
            Category::Storage => "storage",
            Category::Fenced => "fenced",
            Category::ProjectionOutOfDate => "projection_out_of_date",
            Category::InvalidArgument => "invalid_argument",
            Category::IdempotencyConflict => "idempotency_conflict",
            Category::PiiViolation => "pii_violation",
            Category::NotFound => "not_found",
            Category::Unavailable => "unavailable",
            Category::Unauthorized => "unauthorized",
            Category::VersionMismatch => "version_mismatch",
            Category::OutcomeUnknown => "outcome_unknown",
            Category::Internal => "internal",
        }
    }

    /// Returns the category with this stable word.
    pub fn parse(word: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|c| c.as_str() == word)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Data that was refused, or that cannot be projected: a category and a sentence for people. The sentence never quotes
/// payload text, so that secrets do not leak into logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{category}: {message}")]
pub struct Refusal {
    /// Kind of the fault.
    pub category: Category,
    /// Description of the fault and its location.
    pub message: String,
    /// Facts for a program that corrects the data, as far as they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
}

/// Facts of a refusal, for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Number that is due in the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_trace_seq: Option<i64>,
    /// Names of the fields in which a repeat differs from the stored event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<String>,
}

impl Refusal {
    /// Creates a refusal of this category.
    pub fn new(category: Category, message: impl Into<String>) -> Refusal {
        Refusal { category, message: message.into(), details: None }
    }

    /// Adds facts for programs.
    #[must_use]
    pub fn with(self, details: Details) -> Refusal {
        Refusal { details: Some(Box::new(details)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_parses_back() {
        for category in Category::ALL {
            assert_eq!(Category::parse(category.as_str()), Some(category));
        }
        assert_eq!(Category::parse("fatal"), None);
    }
}
