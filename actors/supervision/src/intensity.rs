//! The restart window: how many restarts a supervisor may spend in how much time.
//!
//! Guarantees: more than `restarts_max` within `period` is too many, as in OTP (a restart exactly `period` old still
//! counts). Holds at most `restarts_max` + 1 times. Never reads a clock; times are durations since an origin that the
//! caller chose.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Restart intensity: how many restarts are tolerated in how much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intensity {
    /// Restarts within `period` that do not escalate; one more does.
    pub restarts_max: u32,
    /// Length of the window.
    pub period: Duration,
}

impl Intensity {
    /// Allows at most `restarts_max` restarts within `period`.
    pub const fn new(restarts_max: u32, period: Duration) -> Intensity {
        Intensity { restarts_max, period }
    }
}

impl Default for Intensity {
    /// Returns OTP's default: one restart in five seconds.
    fn default() -> Intensity {
        Intensity::new(1, Duration::from_secs(5))
    }
}

/// The restarts of one supervisor that may still count.
#[derive(Debug, Clone)]
pub struct RestartWindow {
    intensity: Intensity,
    times: VecDeque<Duration>,
}

impl RestartWindow {
    /// Creates an empty window.
    pub fn new(intensity: Intensity) -> RestartWindow {
        RestartWindow { intensity, times: VecDeque::new() }
    }

    /// Counts the restarts that are in the window at `now`.
    pub fn count(&self, now: Duration) -> u32 {
        let counted = self.times.iter().filter(|then| now.saturating_sub(**then) <= self.intensity.period).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// True when one more restart at `now` would be too many.
    pub fn is_spent(&self, now: Duration) -> bool {
        self.count(now) >= self.intensity.restarts_max
    }

    /// Counts a restart at `now` and forgets restarts that no longer count.
    pub fn record(&mut self, now: Duration) {
        let period = self.intensity.period;
        self.times.retain(|then| now.saturating_sub(*then) <= period);
        self.times.push_back(now);
        while self.times.len() > self.intensity.restarts_max as usize + 1 {
            self.times.pop_front();
        }
    }

    /// Returns the intensity that this window enforces.
    pub const fn intensity(&self) -> Intensity {
        self.intensity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn one_more_than_allowed_within_the_period_is_too_many() {
        let mut window = RestartWindow::new(Intensity::new(2, seconds(5)));
        assert!(!window.is_spent(seconds(0)));
        window.record(seconds(0));
        assert!(!window.is_spent(seconds(1)));
        window.record(seconds(1));
        assert!(window.is_spent(seconds(5)), "0 and 1 still count at 5: the bound is inclusive");
        assert!(!window.is_spent(seconds(6)), "0 no longer counts at 6");
        assert_eq!(window.count(seconds(7)), 0);
    }

    #[test]
    fn no_restarts_allowed_means_the_first_is_too_many() {
        assert!(RestartWindow::new(Intensity::new(0, seconds(5))).is_spent(seconds(0)));
    }

    #[test]
    fn the_window_holds_a_bounded_number_of_times() {
        let mut window = RestartWindow::new(Intensity::new(3, seconds(1000)));
        (0..100).for_each(|n| window.record(seconds(n)));
        assert_eq!(window.times.len(), 4);
    }
}
