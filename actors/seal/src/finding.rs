//! Findings of an audit: few, stable words, each with its exit code.

use decisiongraph_projections::seal::Malformed;
use decisiongraph_projections::seal::note::WrongSignature;
use decisiongraph_protocol::ExitCode;
use serde::Serialize;

/// Reason why evidence is refused. Stable: scripts and the runbook rely on [`Finding::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// An envelope is not what was sealed.
    EnvelopeDiffers,
    /// A payload is not what was sealed.
    PayloadDiffers,
    /// Two signed heads contradict each other.
    CheckpointDiffers,
    /// A note was changed after it was signed.
    SignatureInvalid,
    /// Entries and proof do not give the root that was signed.
    RootDiffers,
    /// The events are not in the order of the log.
    OrderDiffers,
    /// An event is of another tenant or trace than the file says.
    ScopeDiffers,
    /// A range leaves an event out.
    RangeGap,
    /// The numbers of a trace have a gap.
    TraceGap,
    /// The file has not the form that its kind has.
    PackMalformed,
    /// No key that the reader named has signed, or only a replaced one.
    SignatureMissing,
    /// Fewer witnesses than asked for have cosigned.
    WitnessMissing,
}

impl Finding {
    /// Every finding, in the order of the documentation.
    pub const ALL: [Finding; 12] = [
        Finding::EnvelopeDiffers,
        Finding::PayloadDiffers,
        Finding::CheckpointDiffers,
        Finding::SignatureInvalid,
        Finding::RootDiffers,
        Finding::OrderDiffers,
        Finding::ScopeDiffers,
        Finding::RangeGap,
        Finding::TraceGap,
        Finding::PackMalformed,
        Finding::SignatureMissing,
        Finding::WitnessMissing,
    ];

    /// Returns the stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Finding::EnvelopeDiffers => "envelope_differs",
            Finding::PayloadDiffers => "payload_differs",
            Finding::CheckpointDiffers => "checkpoint_differs",
            Finding::SignatureInvalid => "signature_invalid",
            Finding::RootDiffers => "root_differs",
            Finding::OrderDiffers => "order_differs",
            Finding::ScopeDiffers => "scope_differs",
            Finding::RangeGap => "range_gap",
            Finding::TraceGap => "trace_gap",
            Finding::PackMalformed => "pack_malformed",
            Finding::SignatureMissing => "signature_missing",
            Finding::WitnessMissing => "witness_missing",
        }
    }

    /// Returns the exit code of a program that ends with this finding.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Finding::PackMalformed => ExitCode::DATA_REFUSED,
            Finding::SignatureMissing | Finding::WitnessMissing => ExitCode::UNAUTHORIZED,
            _ => ExitCode::DRIFT,
        }
    }

    /// Refuses with this finding.
    pub fn because(self, text: impl Into<String>) -> Refused {
        Refused { finding: self, text: text.into() }
    }
}

/// Evidence that is refused: the first finding, and a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {text}", .finding.as_str())]
pub struct Refused {
    /// The finding.
    pub finding: Finding,
    /// Sentence for a person.
    pub text: String,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Refused {
        Finding::PackMalformed.because(malformed.to_string())
    }
}

impl From<WrongSignature> for Refused {
    fn from(wrong: WrongSignature) -> Refused {
        Finding::SignatureInvalid.because(wrong.to_string())
    }
}

/// Reason why an audit did not accept.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The evidence is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The question itself is wrong or incomplete.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read.
    #[error("cannot read the file: {0}")]
    Unreadable(#[from] std::io::Error),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Failure {
        Failure::Refused(malformed.into())
    }
}

impl Failure {
    /// Returns the exit code of a program that ends with this failure.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Refused(refused) => refused.finding.exit_code(),
            Failure::Usage(_) | Failure::Unreadable(_) => ExitCode::USAGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_one_word_and_the_exit_code_of_the_contract() {
        let shown = |finding: Finding| (finding.as_str(), finding.exit_code().0);
        let words: Vec<(&str, u8)> = Finding::ALL.into_iter().map(shown).collect();
        let expected = [
            ("envelope_differs", 3),
            ("payload_differs", 3),
            ("checkpoint_differs", 3),
            ("signature_invalid", 3),
            ("root_differs", 3),
            ("order_differs", 3),
            ("scope_differs", 3),
            ("range_gap", 3),
            ("trace_gap", 3),
            ("pack_malformed", 4),
            ("signature_missing", 8),
            ("witness_missing", 8),
        ];
        assert_eq!(words, expected);
        for finding in Finding::ALL {
            assert_eq!(serde_json::to_value(finding).expect("serialises"), finding.as_str());
        }
    }
}
