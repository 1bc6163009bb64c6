//! The guard that keeps credentials out of the log, under one of two rules. It looks at every string *value* of payload,
//! tags, actor, source, correlation id, causation id and idempotency key; keys are not searched.
//!
//! Guarantees: the same text gives the same verdict, in whatever field it stands. Never looks for personal data: the category
//! is called `pii_violation` because the reference calls it so.

pub mod patterns;
pub mod reference;

use serde::{Deserialize, Serialize};

/// What counts as a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialGuard {
    /// What has the form of a credential: start, alphabet and length, as secret scanners know them ([`patterns`]).
    #[default]
    Patterns,
    /// What contains one of the reference's 21 texts, inside words as well ([`reference`]).
    Reference,
}

impl CredentialGuard {
    /// The words of [`CredentialGuard::parse`].
    pub const WORDS: [&'static str; 2] = ["patterns", "reference"];

    /// The guard of this word.
    pub fn parse(word: &str) -> Option<CredentialGuard> {
        [CredentialGuard::Patterns, CredentialGuard::Reference].into_iter().find(|guard| guard.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            CredentialGuard::Patterns => "patterns",
            CredentialGuard::Reference => "reference",
        }
    }

    /// What `text` contains, in words; never the text itself.
    pub fn find(self, text: &str) -> Option<&'static str> {
        match self {
            CredentialGuard::Patterns => patterns::find(text).map(|pattern| pattern.name),
            CredentialGuard::Reference => reference::find(text),
        }
    }
}
