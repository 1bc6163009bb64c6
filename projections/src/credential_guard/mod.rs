//! The guard that keeps credentials out of the log, under one of two rules. It checks every string *value* of payload,
//! tags, actor, source, correlation id, causation id and idempotency key. It does not check keys.
//!
//! Guarantees: the same text gets the same verdict in every field. Never looks for personal data: the category is
//! called `pii_violation` because the reference calls it so.

pub mod patterns;
pub mod reference;

use serde::{Deserialize, Serialize};

/// Rule that decides if a text is a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialGuard {
    /// A text with the form of a credential: start, alphabet and length, as secret scanners know them ([`patterns`]).
    #[default]
    Patterns,
    /// A text that contains one of the reference's 21 texts, inside words as well ([`reference`]).
    Reference,
}

impl CredentialGuard {
    /// Words that [`CredentialGuard::parse`] accepts.
    pub const WORDS: [&'static str; 2] = ["patterns", "reference"];

    /// Returns the guard with this word.
    pub fn parse(word: &str) -> Option<CredentialGuard> {
        [CredentialGuard::Patterns, CredentialGuard::Reference].into_iter().find(|guard| guard.word() == word)
    }

    /// Returns the word of this guard.
    pub fn word(self) -> &'static str {
        match self {
            CredentialGuard::Patterns => "patterns",
            CredentialGuard::Reference => "reference",
        }
    }

    /// Describes the credential that `text` contains; never quotes the text itself.
    pub fn find(self, text: &str) -> Option<&'static str> {
        match self {
            CredentialGuard::Patterns => patterns::find(text).map(|pattern| pattern.name),
            CredentialGuard::Reference => reference::find(text),
        }
    }
}
