//! Findings about a sealed log: few, stable words, each with a line for a person.
//!
//! *Guarantees.* A message begins with its word, is one line, and never contains a payload.

use decisiongraph_projections::Category;
use decisiongraph_protocol::{ExitCode, SealFound};
use decisiongraph_store::StoreError;
use std::fmt;

/// Difference between a log and its seal. Stable: scripts and the runbook rely on [`SealWord::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealWord {
    /// An envelope is not what was sealed.
    EnvelopeDiffers,
    /// A payload is not what was sealed.
    PayloadDiffers,
    /// The stored hash of a payload is not that of the sealed payload.
    PayloadHashDiffers,
    /// A column by which queries find an event does not follow from its text.
    IdentityDiffers,
    /// A sealed event is not in the log.
    EventMissing,
    /// The log has an event, at a sealed stretch, that was not sealed.
    EventInserted,
    /// Chunks, nodes, frontier and root of a tree contradict one another.
    TreeDamaged,
    /// A tree has fewer leaves than a signed checkpoint.
    TreeShrunk,
    /// A tree has another root than a signed checkpoint of the same size.
    CheckpointDiffers,
    /// A note was changed after it was signed.
    SignatureInvalid,
    /// A payload is gone, and no signed note says who erased it.
    ErasureUnrecorded,
    /// The salts that open a leaf are gone.
    SaltsMissing,
    /// The tree changed between two batches of its only writer.
    RootDiffers,
    /// The events are not in the order of the log.
    OrderDiffers,
    /// An event is of another tenant or trace.
    ScopeDiffers,
    /// A range leaves an event out.
    RangeGap,
    /// The numbers of a trace have a gap.
    TraceGap,
    /// No known key has signed.
    SignatureMissing,
    /// Too few witnesses have cosigned.
    WitnessMissing,
}

impl SealWord {
    /// Every word.
    pub const ALL: [SealWord; 19] = [
        SealWord::EnvelopeDiffers,
        SealWord::PayloadDiffers,
        SealWord::PayloadHashDiffers,
        SealWord::IdentityDiffers,
        SealWord::EventMissing,
        SealWord::EventInserted,
        SealWord::TreeDamaged,
        SealWord::TreeShrunk,
        SealWord::CheckpointDiffers,
        SealWord::SignatureInvalid,
        SealWord::ErasureUnrecorded,
        SealWord::SaltsMissing,
        SealWord::RootDiffers,
        SealWord::OrderDiffers,
        SealWord::ScopeDiffers,
        SealWord::RangeGap,
        SealWord::TraceGap,
        SealWord::SignatureMissing,
        SealWord::WitnessMissing,
    ];

    /// Returns the stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            SealWord::EnvelopeDiffers => "envelope_differs",
            SealWord::PayloadDiffers => "payload_differs",
            SealWord::PayloadHashDiffers => "payload_hash_differs",
            SealWord::IdentityDiffers => "identity_differs",
            SealWord::EventMissing => "event_missing",
            SealWord::EventInserted => "event_inserted",
            SealWord::TreeDamaged => "tree_damaged",
            SealWord::TreeShrunk => "tree_shrunk",
            SealWord::CheckpointDiffers => "checkpoint_differs",
            SealWord::SignatureInvalid => "signature_invalid",
            SealWord::ErasureUnrecorded => "erasure_unrecorded",
            SealWord::SaltsMissing => "salts_missing",
            SealWord::RootDiffers => "root_differs",
            SealWord::OrderDiffers => "order_differs",
            SealWord::ScopeDiffers => "scope_differs",
            SealWord::RangeGap => "range_gap",
            SealWord::TraceGap => "trace_gap",
            SealWord::SignatureMissing => "signature_missing",
            SealWord::WitnessMissing => "witness_missing",
        }
    }

    /// Reads a word.
    pub fn parse(word: &str) -> Option<SealWord> {
        SealWord::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// Reads the word that a message of a finding begins with. None for any other message.
    pub fn of_message(message: &str) -> Option<SealWord> {
        SealWord::parse(message.split_once(": ")?.0)
    }

    /// Returns the exit code of a command that ends with this finding.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            SealWord::SignatureMissing | SealWord::WitnessMissing => ExitCode::UNAUTHORIZED,
            _ => ExitCode::DRIFT,
        }
    }

    /// Makes a finding of this word; `text` goes on behind it.
    pub fn because(self, text: impl fmt::Display) -> SealFinding {
        SealFinding { word: self, message: format!("{}: {text}", self.as_str()) }
    }
}

impl fmt::Display for SealWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A finding about a sealed log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealFinding {
    /// Stable word.
    pub word: SealWord,
    /// Line for a person. It begins with the word.
    pub message: String,
}

impl SealFinding {
    /// Reads a finding off the error that was made of it. None for any other error.
    pub fn of_error(error: &StoreError) -> Option<SealFinding> {
        let word = SealWord::of_message(&error.message).filter(|_| error.category == Category::Conflict)?;
        Some(SealFinding { word, message: error.message.clone() })
    }
}

impl fmt::Display for SealFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<SealFinding> for StoreError {
    fn from(finding: SealFinding) -> StoreError {
        StoreError::new(Category::Conflict, finding.message)
    }
}

impl From<SealFinding> for SealFound {
    fn from(finding: SealFinding) -> SealFound {
        SealFound { word: finding.word.as_str().to_owned(), message: finding.message }
    }
}

/// Most findings that a report names.
pub const FINDINGS_MAX: usize = 20;

/// Findings of a check: the first of each word, in the order in which they were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    first: Vec<SealFinding>,
    /// Number of findings, named or not.
    pub total: u64,
}

impl Findings {
    /// Adds a finding. It is named when it is the first of its word, and at most [`FINDINGS_MAX`] are.
    pub fn add(&mut self, finding: SealFinding) {
        self.total += 1;
        if !self.has(finding.word) && self.first.len() < FINDINGS_MAX {
            self.first.push(finding);
        }
    }

    /// True when there is a finding of this word.
    pub fn has(&self, word: SealWord) -> bool {
        self.first.iter().any(|found| found.word == word)
    }

    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns the findings that are named.
    pub fn named(&self) -> &[SealFinding] {
        &self.first
    }

    /// Takes over the findings of a part, which was checked behind what is here.
    pub fn join(&mut self, part: Findings) {
        let unnamed = part.total.saturating_sub(part.first.len() as u64);
        part.first.into_iter().for_each(|finding| self.add(finding));
        self.total += unnamed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_named_once_per_word_and_every_one_is_counted() {
        let mut findings = Findings::default();
        findings.add(SealWord::EventMissing.because("leaf 3 (log_seq 4): sealed, and not in the log"));
        findings.add(SealWord::EventMissing.because("leaf 4 (log_seq 5): sealed, and not in the log"));
        let mut part = Findings::default();
        part.add(SealWord::PayloadDiffers.because("leaf 5 (log_seq 6, e): its payload is not what was sealed"));
        part.add(SealWord::PayloadDiffers.because("leaf 6 (log_seq 7, f): its payload is not what was sealed"));
        findings.join(part);
        let words: Vec<&str> = findings.named().iter().map(|found| found.word.as_str()).collect();
        assert_eq!((words, findings.total), (vec!["event_missing", "payload_differs"], 4));
        assert_eq!(findings.named()[0].message, "event_missing: leaf 3 (log_seq 4): sealed, and not in the log");
    }

    #[test]
    fn a_finding_is_read_off_the_error_that_was_made_of_it() {
        for word in SealWord::ALL {
            let finding = word.because("leaf 3: something");
            assert_eq!(SealWord::parse(word.as_str()), Some(word));
            let error = StoreError::from(finding.clone());
            assert_eq!(error.message, format!("{word}: leaf 3: something"));
            assert_eq!(SealFinding::of_error(&error), Some(finding));
        }
        let other = StoreError::new(Category::Conflict, "run 7: is under way");
        assert_eq!(SealFinding::of_error(&other), None);
        assert_eq!(SealFinding::of_error(&StoreError::internal("tree_shrunk: no")), None);
        assert_eq!(SealWord::TreeShrunk.exit_code(), ExitCode::DRIFT);
        assert_eq!(SealWord::SignatureMissing.exit_code(), ExitCode::UNAUTHORIZED);
    }
}
