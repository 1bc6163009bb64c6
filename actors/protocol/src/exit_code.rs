//! Exit codes: a small stable table that scripts can rely on.

use super::{AdminError, HealthWord};
use crate::report::RunReport;
use decisiongraph_projections::Category;
use decisiongraph_records::RunState;

/// A process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

#[allow(missing_docs)]
impl ExitCode {
    pub const OK: ExitCode = ExitCode(0);
    pub const OTHER: ExitCode = ExitCode(1);
    pub const USAGE: ExitCode = ExitCode(2);
    pub const DRIFT: ExitCode = ExitCode(3);
    pub const DATA_REFUSED: ExitCode = ExitCode(4);
    pub const NOT_FOUND: ExitCode = ExitCode(5);
    pub const UNAVAILABLE: ExitCode = ExitCode(6);
    pub const OUT_OF_DATE: ExitCode = ExitCode(7);
    pub const UNAUTHORIZED: ExitCode = ExitCode(8);
    pub const FENCED: ExitCode = ExitCode(9);
    pub const HEALTH_DEGRADED: ExitCode = ExitCode(10);
    pub const HEALTH_FAILED: ExitCode = ExitCode(11);
    /// A node whose supervision tree met more failures than allowed.
    pub const GAVE_UP: ExitCode = ExitCode(12);
    pub const INTERRUPTED: ExitCode = ExitCode(130);
}

/// Returns the code of an error of this category.
pub const fn of_category(category: Category) -> ExitCode {
    match category {
        Category::InvalidArgument => ExitCode::USAGE,
        Category::SchemaViolation
        | Category::Conflict
        | Category::EventSequenceInvalid
        | Category::IdempotencyConflict
        | Category::PiiViolation => ExitCode::DATA_REFUSED,
        Category::NotFound => ExitCode::NOT_FOUND,
        Category::Unavailable => ExitCode::UNAVAILABLE,
        Category::ProjectionOutOfDate => ExitCode::OUT_OF_DATE,
        Category::Unauthorized | Category::VersionMismatch => ExitCode::UNAUTHORIZED,
        Category::Fenced | Category::OutcomeUnknown => ExitCode::FENCED,
        Category::Storage | Category::Internal => ExitCode::OTHER,
    }
}

/// Findings about a sealed log: the first word of their message. Each is a `conflict` between the log and its seal.
pub const SEAL_FINDINGS: [&str; 17] = [
    "envelope_differs",
    "payload_differs",
    "payload_hash_differs",
    "identity_differs",
    "event_missing",
    "event_inserted",
    "tree_damaged",
    "tree_shrunk",
    "checkpoint_differs",
    "signature_invalid",
    "erasure_unrecorded",
    "salts_missing",
    "root_differs",
    "order_differs",
    "scope_differs",
    "range_gap",
    "trace_gap",
];

/// Returns the code of a failed request: that of its category, and of drift for a finding about a sealed log.
pub fn of_error(error: &AdminError) -> ExitCode {
    match seal_finding(error) {
        Some(_) => ExitCode::DRIFT,
        None => of_category(error.category),
    }
}

/// Returns the word of the finding that the error is about, if it is about one.
pub fn seal_finding(error: &AdminError) -> Option<&'static str> {
    let (word, _) = error.message.split_once(':')?;
    let known = SEAL_FINDINGS.iter().find(|known| **known == word);
    known.copied().filter(|_| error.category == Category::Conflict)
}

/// Returns the code of `health`.
pub const fn of_health(health: HealthWord) -> ExitCode {
    match health {
        HealthWord::Ok => ExitCode::OK,
        HealthWord::Degraded => ExitCode::HEALTH_DEGRADED,
        HealthWord::Failed => ExitCode::HEALTH_FAILED,
    }
}

/// Returns the code of an ended job: of drift or of a log that is not as it was sealed, of the poison event's category,
/// or of the run's end.
pub fn of_job(report: &RunReport, interrupted: bool) -> ExitCode {
    match report.run.state {
        // An event that was edited stops the rows' fold, too.
        RunState::Completed | RunState::Failed if report.log_differs() => ExitCode::DRIFT,
        RunState::Completed if report.drifted() => ExitCode::DRIFT,
        RunState::Completed => ExitCode::OK,
        RunState::Cancelled if interrupted => ExitCode::INTERRUPTED,
        _ => report.run.error.as_ref().map_or(ExitCode::OTHER, |error| of_category(error.category)),
    }
}

/// Returns the worse of two codes, for work over many tenants. An interrupt is worst, then drift, then the most damage
/// or the most hidden.
pub fn worst(a: ExitCode, b: ExitCode) -> ExitCode {
    let rank = |code: ExitCode| WORST_FIRST.iter().position(|worse| *worse == code).unwrap_or(0);
    if rank(b) < rank(a) { b } else { a }
}

/// Every exit code of a job or request, the worst first.
const WORST_FIRST: [ExitCode; 11] = [
    ExitCode::INTERRUPTED,
    ExitCode::DRIFT,
    ExitCode::OTHER,
    ExitCode::FENCED,
    ExitCode::UNAVAILABLE,
    ExitCode::UNAUTHORIZED,
    ExitCode::DATA_REFUSED,
    ExitCode::OUT_OF_DATE,
    ExitCode::NOT_FOUND,
    ExitCode::USAGE,
    ExitCode::OK,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_code_wins_in_any_order() {
        for (a, b, worse) in [(0, 7, 7), (3, 1, 3), (4, 7, 4), (130, 3, 130), (6, 9, 9), (0, 0, 0)] {
            assert_eq!(worst(ExitCode(a), ExitCode(b)), ExitCode(worse));
            assert_eq!(worst(ExitCode(b), ExitCode(a)), ExitCode(worse));
        }
    }

    #[test]
    fn a_finding_about_a_sealed_log_is_drift_and_any_other_conflict_is_not() {
        for word in SEAL_FINDINGS {
            let error = AdminError::new(Category::Conflict, format!("{word}: leaf 97"));
            assert_eq!((of_error(&error), seal_finding(&error)), (ExitCode::DRIFT, Some(word)));
        }
        let other = AdminError::new(Category::Conflict, "the run has ended: nothing to cancel");
        assert_eq!(of_error(&other), ExitCode::DATA_REFUSED);
        let refused = AdminError::new(Category::InvalidArgument, "tree_shrunk: a word that was given");
        assert_eq!(of_error(&refused), ExitCode::USAGE);
    }

    #[test]
    fn the_table_is_the_contract() {
        let table = [
            (Category::SchemaViolation, 4),
            (Category::Conflict, 4),
            (Category::EventSequenceInvalid, 4),
            (Category::Storage, 1),
            (Category::Fenced, 9),
            (Category::ProjectionOutOfDate, 7),
            (Category::InvalidArgument, 2),
            (Category::IdempotencyConflict, 4),
            (Category::PiiViolation, 4),
            (Category::NotFound, 5),
            (Category::Unavailable, 6),
            (Category::Unauthorized, 8),
            (Category::VersionMismatch, 8),
            (Category::OutcomeUnknown, 9),
            (Category::Internal, 1),
        ];
        assert_eq!(table.len(), Category::ALL.len());
        for (category, code) in table {
            assert_eq!(of_category(category), ExitCode(code), "{category}");
        }
    }
}
