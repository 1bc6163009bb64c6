//! The window of a log: from the commit of an event to the first copy of a checkpoint that covers it in a place.
//!
//! *Guarantees.* Where places are configured, a signature alone closes nothing: the journal is on the machine of the
//! node. Where none is, the journal is all there is. What one process has signed is followed to the places in bounded
//! memory.

use super::{Sealing, lock};
use decisiongraph_projections::TenantId;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Checkpoints of a log that are followed one by one. Of more, the newest take the age of those before them.
const FOLLOWED_MAX: usize = 64;

/// Checkpoints of one log that no place has yet.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    /// Sizes, ascending, each with the time at which the first event behind the checkpoint before it was committed.
    checkpoints: VecDeque<(u64, Instant)>,
}

impl Unplaced {
    /// Follows a checkpoint of this size from now on.
    pub(super) fn follow(&mut self, size: u64, since: Instant) {
        let is_full = self.checkpoints.len() == FOLLOWED_MAX;
        match self.checkpoints.back_mut() {
            Some((last, _)) if *last >= size => {}
            Some((last, _)) if is_full => *last = size,
            _ => self.checkpoints.push_back((size, since)),
        }
    }

    /// Forgets what a place has up to this size. Returns the age of the oldest event that is left.
    fn left(&mut self, placed: u64) -> Option<Duration> {
        while self.checkpoints.front().is_some_and(|(size, _)| *size <= placed) {
            self.checkpoints.pop_front();
        }
        self.checkpoints.front().map(|(_, since)| since.elapsed())
    }
}

impl Sealing {
    /// Lists the tenants with signed events that no place has a checkpoint of, with the age of the oldest of them. None
    /// where no place is configured.
    pub fn unplaced(&self) -> Vec<(TenantId, Duration)> {
        if self.memory.places.is_empty() {
            return Vec::new();
        }
        let mut state = lock(&self.notary.state);
        let state = &mut *state;
        let mut unplaced = Vec::new();
        for (origin, log) in &mut state.logs {
            let there = state.places.iter().filter_map(|place| place.logs.get(origin));
            let placed = there.clone().filter_map(|published| Some(published.newest.as_ref()?.0)).max().unwrap_or(0);
            // Notes from before this process: known is only the time since which a place lacks them.
            let lacking = there.filter_map(|published| published.behind).map(|since| since.elapsed()).min();
            let unknown = lacking.filter(|_| placed == 0);
            let age = log.unplaced.left(placed).into_iter().chain(unknown).max();
            unplaced.extend(age.map(|age| (log.tenant.clone(), age)));
        }
        unplaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_followed_until_a_place_has_one_that_covers_it() {
        let (mut unplaced, now) = (Unplaced::default(), Instant::now());
        let before = |seconds| now.checked_sub(Duration::from_secs(seconds)).expect("a running machine");
        assert_eq!(unplaced.left(0), None);
        unplaced.follow(3, before(30));
        unplaced.follow(5, before(20));
        unplaced.follow(5, before(10));
        let age = |unplaced: &mut Unplaced, placed| unplaced.left(placed).map(|age| age.as_secs() / 10);
        assert_eq!(age(&mut unplaced, 2), Some(3));
        assert_eq!(age(&mut unplaced, 3), Some(2));
        assert_eq!(age(&mut unplaced, 5), None);
        // Very many are followed as one, with the greater age.
        for size in 6..=1_000 {
            unplaced.follow(size, before(if size == 6 { 30 } else { 10 }));
        }
        assert_eq!(unplaced.checkpoints.len(), FOLLOWED_MAX);
        assert_eq!(age(&mut unplaced, 999), Some(1), "the newest is not covered");
        assert_eq!(age(&mut unplaced, 1_000), None);
    }
}
