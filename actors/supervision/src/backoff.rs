//! Delay before a restart: doubles with every recent restart, with jitter.
//!
//! Guarantees: the delay is between half of and all of `first * 2^(attempt-1)`, and never above `longest`. The same
//! attempt and seed give the same delay. Never sleeps.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Doublings after which the delay has long met any bound; keeps the shift in range.
const DOUBLINGS_MAX: u32 = 30;

/// Delays between restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay before the first restart.
    pub first: Duration,
    /// Upper bound of the delay.
    pub longest: Duration,
}

impl Backoff {
    /// Computes the delay before restart number `attempt`, counted from 1 among the restarts in the window.
    pub fn delay(&self, attempt: u32, seed: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(DOUBLINGS_MAX);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = whole / 2;
        // 2^53 steps: exactly what an f64 in [0, 1) can hold.
        let part = (mix(seed ^ u64::from(attempt)) >> 11) as f64 / (1_u64 << 53) as f64;
        half + half.mul_f64(part)
    }
}

/// Spreads neighbouring seeds over all 64 bits (SplitMix64).
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) };

    #[test]
    fn the_delay_doubles_within_its_jitter_and_stops_at_the_longest() {
        for seed in 0..1000 {
            for attempt in 1..=40 {
                let whole = Duration::from_millis(100 << (attempt - 1).min(20)).min(BACKOFF.longest);
                let delay = BACKOFF.delay(attempt, seed);
                assert!(delay >= whole / 2 && delay <= whole, "attempt {attempt}, seed {seed}: {delay:?}");
            }
        }
    }

    #[test]
    fn seeds_spread_the_delay() {
        let mut delays: Vec<_> = (0..100).map(|seed| BACKOFF.delay(3, seed)).collect();
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 90);
        assert_eq!(BACKOFF.delay(3, 7), BACKOFF.delay(3, 7));
    }
}
