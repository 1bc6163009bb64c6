//! The memory of the process as one budget in four parts. Code that reads pages, folds them or answers with them holds
//! a share of a part meanwhile.
//!
//! *Guarantees.* The parts and what is left out of them make up `memory_max`. Shares of a part are given in the order
//! in which they were asked for. No task waits for a share while it holds another, so no task waits forever. A share is
//! never larger than its part, so a lone reader always proceeds. Readers and requests never wait for each other,
//! because their parts differ.
//!
//! *Never here:* measuring. A share is an estimate: the bytes that are read, times a cost that was measured once.
//!
//! # How the costs were measured
//!
//! The measure is the peak of the process (`VmHWM` in /proc/PID/status) less that of an idle process. The idle peak is
//! 35 MB, of which 28 are the program's own file. The measure was taken on both stores, with logs of 120 MB. These held
//! events of 1 MB of payload, events of 4 MB, and events with ids and titles of 4,000 bytes, which rows repeat. Each
//! log was applied with pages of 16 MiB and of 4 MiB. The cost per byte of a page is the difference of both peaks,
//! divided by the difference of the pages. The costs of a batch and a job are the largest seen, rounded up. Those of a
//! read and of an ask are of single runs: the peak divided by the bytes.
//!
//! What the allocator keeps of freed blocks is not in these costs. The program limits it: see its `allocator.rs`.

use super::EngineConfig;
use decisiongraph_store::PageLimit;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit.
const UNIT_BYTES: usize = 1024;
/// Bytes of `memory_max` that are not counted: the program, its actors and connections, and what telemetry keeps.
const PROGRAM_BYTES: u64 = 64 * 1024 * 1024;
/// Number of parts of the rest. One of them, which no list below has, is for what the allocator keeps.
const PARTS: u64 = 16;
const WORK_PARTS: u64 = 7;
const ANSWERS_PARTS: u64 = 4;
const KEPT_PARTS: u64 = 2;
const CACHE_PARTS: u64 = 2;
/// Divisor of the work's memory: one batch or job begins with at most one of so many parts.
const BATCH_PART: usize = 4;
/// Bytes of memory per byte of a page, while one projection folds and commits it. They cover the driver's copy, the
/// events, and as many bytes of prior rows. They also cover rows that repeat ids, and the statement that writes them.
const BATCH_COST: usize = 8;
/// The same for a job: three projections share a page, and two more pages are read ahead.
const JOB_COST: usize = 3 * BATCH_COST + 4;
/// The same while a page of the log is compared with its seal, and the next one is read. They cover the events of both,
/// the driver's copies, and as much for the page that waits for its share.
const COMPARE_COST: usize = 8;
/// The same for one event that is larger than a page. Nothing is read ahead of it.
const COMPARE_LARGE_COST: usize = 3;
/// Bytes of memory per byte of a read, while it is answered. They cover rows, records, and the answer's JSON, which may
/// double every byte.
pub const READ_COST: usize = 5;
/// Bytes of memory per byte of a large request, while it is processed. They cover its lines, their events, and the
/// statement that stores them.
pub const ASK_COST: usize = 4;
/// Largest event of a read, in bytes, whatever the memory: an answer has to hold it.
pub(crate) const READ_EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The memory budget; see the module. Cheap to clone; the copies are one budget.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Part for pages that are folded and committed.
    pub work: Part,
    /// Part for requests and their answers.
    pub answers: Part,
    /// Part for data that is kept only because it may be useful again. No task waits for room in it.
    pub kept: Part,
}

/// A part of the budget.
#[derive(Debug, Clone)]
pub struct Part {
    permits: Arc<Semaphore>,
    bytes: usize,
}

/// A share of a part, held until it is dropped.
#[derive(Debug)]
pub struct Share(OwnedSemaphorePermit);

impl Budget {
    /// Divides `memory_max` bytes, the limit of the process, into the budget's parts.
    pub fn new(memory_max: u64) -> Budget {
        Budget {
            work: Part::of(parts(memory_max, WORK_PARTS)),
            answers: Part::of(parts(memory_max, ANSWERS_PARTS)),
            kept: Part::of(parts(memory_max, KEPT_PARTS)),
        }
    }

    /// Computes the fourth part: bytes that an embedded store may keep of its files.
    pub fn cache_bytes(memory_max: u64) -> u64 {
        parts(memory_max, CACHE_PARTS)
    }

    /// Computes the share with which a worker reads its next page of at most `bytes_max` bytes, and the limit of that
    /// page.
    pub fn batch(&self, config: &EngineConfig, bytes_max: usize) -> (usize, PageLimit) {
        self.with_cost(config, bytes_max.min(config.batch_bytes_max), BATCH_COST)
    }

    /// Computes the same for a job.
    pub fn job(&self, config: &EngineConfig) -> (usize, PageLimit) {
        self.with_cost(config, config.batch_bytes_max, JOB_COST)
    }

    /// Computes the shares with which pages of the log are compared with their seal, and the limits of the pages. The
    /// first is for a page without any larger event. The second is for one such event, as large as a projection takes.
    pub fn compare(&self, config: &EngineConfig) -> [(usize, PageLimit); 2] {
        let (share, limit) = self.with_cost(config, config.batch_bytes_max, COMPARE_COST);
        let event_bytes_max = limit.event_bytes_max;
        let large = PageLimit { event_bytes_max, ..PageLimit::rows(1) };
        let page = PageLimit { event_bytes_max: limit.bytes_max, ..limit };
        [(share, page), (event_bytes_max * COMPARE_LARGE_COST, large)]
    }

    fn with_cost(&self, config: &EngineConfig, bytes_max: usize, cost: usize) -> (usize, PageLimit) {
        let share = bytes_max.saturating_mul(cost).min(self.work.bytes / BATCH_PART);
        let limit = PageLimit::of(config.batch_events_max, bytes_max.min(share / cost));
        (share, PageLimit { event_bytes_max: self.work.bytes / BATCH_COST, ..limit })
    }

    /// Computes the memory for folding and committing a page of this many bytes.
    pub fn batch_cost(bytes: usize) -> usize {
        bytes.saturating_mul(BATCH_COST)
    }

    /// Computes the same for a job.
    pub fn job_cost(bytes: usize) -> usize {
        bytes.saturating_mul(JOB_COST)
    }

    /// Computes the largest event that an answer has room for.
    pub fn read_event_bytes_max(&self) -> usize {
        (self.answers.bytes / READ_COST).min(READ_EVENT_BYTES_MAX)
    }
}

fn parts(memory_max: u64, parts: u64) -> u64 {
    memory_max.saturating_sub(PROGRAM_BYTES) / PARTS * parts
}

impl Part {
    fn of(bytes: u64) -> Part {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(u32::MAX as usize * UNIT_BYTES);
        Part { permits: Arc::new(Semaphore::new(permits(bytes) as usize)), bytes }
    }

    /// Waits for a share of this many bytes, or of the whole part when that is less.
    pub async fn hold(&self, bytes: usize) -> Share {
        let wanted = permits(bytes.min(self.bytes));
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.permits).acquire_many_owned(wanted).await {
                return Share(permit);
            }
        }
    }

    /// Waits as [`Part::hold`], for at most `wait`.
    pub async fn hold_within(&self, bytes: usize, wait: Duration) -> Option<Share> {
        tokio::time::timeout(wait, self.hold(bytes)).await.ok()
    }

    /// Returns a share of this many bytes, or of the whole part when that is less. `None` when it is not available now.
    pub fn try_hold(&self, bytes: usize) -> Option<Share> {
        let wanted = permits(bytes.min(self.bytes));
        Arc::clone(&self.permits).try_acquire_many_owned(wanted).ok().map(Share)
    }

    /// Grows a share to this size, if the rest is available now. The holder of a share never waits for more.
    pub fn try_grow(&self, share: &mut Share, bytes: usize) -> bool {
        let more = bytes.min(self.bytes).saturating_sub(share.bytes());
        let Some(more) = self.try_hold(more) else { return false };
        share.0.merge(more.0);
        true
    }

    /// Returns a share of this many bytes and not less, if it is available now.
    pub fn try_hold_all(&self, bytes: usize) -> Option<Share> {
        if bytes > self.bytes { None } else { self.try_hold(bytes) }
    }
}

impl Share {
    /// Returns the size of the share.
    pub fn bytes(&self) -> usize {
        self.0.num_permits() * UNIT_BYTES
    }

    /// Gives back the bytes above this size.
    pub fn shrink(&mut self, bytes: usize) {
        let spare = self.0.num_permits().saturating_sub(permits(bytes) as usize);
        drop(self.0.split(spare));
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::memory::MEMORY_MIN;
    use super::*;
    use decisiongraph_projections::event::EVENT_BYTES_MAX;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn a_share_is_waited_for_shrinks_and_comes_back() {
        let part = Part::of(28 * MIB as u64);
        let mut first = part.hold(20 * MIB).await;
        assert!(part.try_hold(10 * MIB).is_none());
        let mut small = part.hold(MIB).await;
        assert!(!part.try_grow(&mut small, 9 * MIB) && part.try_grow(&mut small, 8 * MIB));
        assert_eq!(small.bytes(), 8 * MIB);
        drop(small);
        assert!(part.hold_within(10 * MIB, Duration::from_millis(1)).await.is_none());
        first.shrink(18 * MIB);
        let second = part.hold(10 * MIB).await;
        let waiting = tokio::spawn({
            let part = part.clone();
            async move { part.hold(usize::MAX).await.bytes() }
        });
        drop((first, second));
        assert_eq!(waiting.await.expect("ends"), 28 * MIB, "more than there is is all there is");
        assert!(part.try_hold_all(29 * MIB).is_none() && part.try_hold_all(28 * MIB).is_some());
    }

    #[test]
    fn the_parts_are_less_than_the_whole() {
        for memory_max in [MEMORY_MIN, 1 << 30, 1 << 40] {
            let budget = Budget::new(memory_max);
            let counted = (budget.work.bytes + budget.answers.bytes + budget.kept.bytes) as u64;
            assert!(counted + Budget::cache_bytes(memory_max) + PROGRAM_BYTES < memory_max, "{memory_max}");
        }
    }

    #[test]
    fn a_page_is_as_large_as_its_share_allows() {
        let config = EngineConfig::default();
        let (share, limit) = Budget::new(8 << 30).batch(&config, usize::MAX);
        assert_eq!((share, limit.bytes_max), (config.batch_bytes_max * BATCH_COST, config.batch_bytes_max));
        let small = Budget::new(MEMORY_MIN);
        for ((share, limit), cost) in [(small.batch(&config, usize::MAX), BATCH_COST), (small.job(&config), JOB_COST)] {
            assert_eq!(share, small.work.bytes / BATCH_PART);
            assert_eq!(limit.bytes_max, share / cost);
            assert!(limit.event_bytes_max > EVENT_BYTES_MAX, "any event that an append takes");
        }
        assert!(small.read_event_bytes_max() > EVENT_BYTES_MAX);
    }
}
