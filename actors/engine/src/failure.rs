//! Decides what to do after an error: one pure function over the error and its count.
//!
//! *Guarantees.* A fault that may pass is waited out with a growing pause and never becomes a crash. A fault that
//! cannot pass without help is a state that an operator sees. It is checked again at long intervals. Nothing here
//! spends restart intensity.
//!
//! *Never here:* clocks, timers, logging. Time and jitter are handed in.

use decisiongraph_projections::Category;
use decisiongraph_store::StoreError;
use std::time::Duration;

/// Pauses that double from `first` to `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// Pause before the first attempt after a fault.
    pub first: Duration,
    /// Upper bound of a pause.
    pub longest: Duration,
}

impl Pauses {
    /// Computes the pause before attempt `attempt` (from 1). It is doubled each time, then shortened by up to a half by
    /// `jitter` (any number). So workers that failed together do not come back together.
    pub fn before(&self, attempt: u32, jitter: u64) -> Duration {
        let doubled = self.first.saturating_mul(1u32 << attempt.saturating_sub(1).min(20)).min(self.longest);
        let half = doubled.as_micros() as u64 / 2;
        doubled - Duration::from_micros(if half == 0 { 0 } else { jitter % half })
    }
}

/// Action of a worker after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The fault may pass: have the database checked, and try again after a pause.
    Retry,
    /// The batch's fence did not hold, or it is unknown whether the batch was committed. Read the owner of the scope,
    /// take a new epoch, then the durable position.
    TakeAgain,
    /// The fault will not pass soon without help: show it, and check again at long intervals or when told.
    Fail,
}

/// Attempt from which a [`Decision::TakeAgain`] after a duplicate becomes a failure. After so many in a row without
/// progress the position does not move, and no other process moves it.
pub const TAKE_AGAIN_MAX: u32 = 5;

/// Decides after the `attempt`-th error in a row (from 1) without progress.
pub fn decide(error: &StoreError, attempt: u32) -> Decision {
    match error.category {
        Category::Fenced | Category::OutcomeUnknown => Decision::TakeAgain,
        // A row exists that the log does not explain. It may be another writer's: read again. If it stays, it is
        // corruption.
        _ if error.duplicate && attempt < TAKE_AGAIN_MAX => Decision::TakeAgain,
        _ if error.duplicate => Decision::Fail,
        Category::Unavailable => Decision::Retry,
        // The next attempt is on a new session.
        _ if error.unfit => Decision::Retry,
        _ if error.transient => Decision::Retry,
        _ => Decision::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(category: Category, transient: bool, duplicate: bool) -> StoreError {
        StoreError { transient, duplicate, ..StoreError::new(category, "x") }
    }

    #[test]
    fn every_error_has_a_decision() {
        for (error, attempt, decision) in [
            (error(Category::Fenced, false, false), 1, Decision::TakeAgain),
            (error(Category::OutcomeUnknown, true, false), 9, Decision::TakeAgain),
            (error(Category::Unavailable, false, false), 40, Decision::Retry),
            (error(Category::Storage, true, false), 40, Decision::Retry),
            (error(Category::Conflict, true, false), 2, Decision::Retry),
            (error(Category::Storage, false, true), 1, Decision::TakeAgain),
            (error(Category::Storage, false, true), TAKE_AGAIN_MAX, Decision::Fail),
            (error(Category::Storage, false, false), 1, Decision::Fail),
            (error(Category::VersionMismatch, false, false), 1, Decision::Fail),
            (error(Category::Internal, false, false), 1, Decision::Fail),
        ] {
            assert_eq!(decide(&error, attempt), decision, "{error:?} at {attempt}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_shortens_them_by_half_at_most() {
        let pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(10) };
        let plain: Vec<u128> = (1..=9).map(|attempt| pauses.before(attempt, 0).as_millis()).collect();
        assert_eq!(plain, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        for attempt in 1..200 {
            for jitter in [1, 77, 49_999, u64::MAX] {
                let pause = pauses.before(attempt, jitter);
                assert!(pause >= pauses.before(attempt, 0) / 2 && pause <= pauses.longest, "{attempt} {jitter}");
            }
        }
    }
}
