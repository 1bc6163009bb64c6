//! Limits the refused connections that the log names. The first few per period appear one by one, the rest as a number.
//!
//! *Guarantees.* A flood of strangers writes at most [`TOLD_MAX`] lines per [`PERIOD`]. None of them is forgotten: the
//! next line says how many were left out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines per period.
pub const TOLD_MAX: u32 = 10;
/// Length of the period.
pub const PERIOD: Duration = Duration::from_secs(10);

/// The refusals at one door.
#[derive(Default)]
pub struct Refusals(Mutex<Count>);

#[derive(Default)]
struct Count {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Refusals {
    /// Counts one more refusal. `Some` when it is to be logged: the number left out since the last logged one.
    pub fn note(&self, now: Instant) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if count.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            count.since = Some(now);
            count.told = 0;
        }
        if count.told < TOLD_MAX {
            count.told += 1;
            return Some(std::mem::take(&mut count.left_out));
        }
        count.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_few_lines_and_the_next_one_counts_the_rest() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let told = (0..1_000).filter(|i| refusals.note(start + Duration::from_millis(*i)).is_some()).count();
        assert_eq!(told, TOLD_MAX as usize);
        assert_eq!(refusals.note(start + PERIOD), Some(1_000 - u64::from(TOLD_MAX)));
        assert_eq!(refusals.note(start + PERIOD), Some(0));
    }
}
