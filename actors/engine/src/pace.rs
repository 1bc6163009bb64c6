//! Limit of rows per second, for work that must not disturb other work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A limit, and the rows that were read under it. Several readers share it.
#[derive(Debug)]
pub struct Pace {
    per_second: u64,
    began: Instant,
    rows: AtomicU64,
}

impl Pace {
    /// Begins now.
    pub fn new(per_second: u64) -> Pace {
        Pace { per_second: per_second.max(1), began: Instant::now(), rows: AtomicU64::new(0) }
    }

    /// Waits until so many rows more are within the limit.
    pub async fn took(&self, rows: u64) {
        let total = self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows);
        tokio::time::sleep(self.due(total, self.began.elapsed())).await;
    }

    /// Returns the time that is missing.
    fn due(&self, rows: u64, elapsed: Duration) -> Duration {
        Duration::from_secs_f64(rows as f64 / self.per_second as f64).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_waits_for_what_is_above_it() {
        let pace = Pace::new(1_000);
        assert_eq!(pace.due(3_000, Duration::from_secs(1)), Duration::from_secs(2));
        assert_eq!(pace.due(3_000, Duration::from_secs(9)), Duration::ZERO);
        assert_eq!(Pace::new(0).due(1, Duration::ZERO), Duration::from_secs(1));
    }
}
