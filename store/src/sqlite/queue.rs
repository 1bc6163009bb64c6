//! Works that wait for the thread that writes, in two sizes.
//!
//! *Guarantees.* Bulk work (a batch of a rebuild, a sweep) gives way to the rest. It begins a transaction only when
//! nothing else waits, or after one without bulk work. It joins only a transaction of bulk work, and no other bulk work
//! joins once anything else waits. So an append waits for one bulk work at most, and bulk work for one transaction.

use super::errors::Failed;
use super::pool::lock;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

/// Work of one writer.
pub(super) trait Job: Send {
    /// Does the work inside a transaction. True when it succeeded.
    fn run(&mut self, conn: &Connection) -> bool;

    /// Answers its writer: with the result of the work, or with the reason why the transaction that held it is gone.
    fn answer(self: Box<Self>, lost: Option<&Failed>);
}

/// Size of a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// A caller waits for its end.
    Short,
    /// It gives way to short works.
    Bulk,
}

/// Works that wait for the thread.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
    /// True when a short work had to wait for a bulk work.
    delayed: AtomicBool,
    /// True while the thread waits for the file's write lock, which another process holds.
    pub(super) kept_out: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    short: VecDeque<Box<dyn Job>>,
    bulk: VecDeque<Box<dyn Job>>,
    /// True when the next transaction begins with bulk work, if any waits.
    bulk_is_due: bool,
    /// True when nothing is added any more.
    ended: bool,
}

impl Waiting {
    fn pop(&mut self, size: Size) -> Option<(Box<dyn Job>, Size)> {
        let queue = match size {
            Size::Short => &mut self.short,
            Size::Bulk => &mut self.bulk,
        };
        Some((queue.pop_front()?, size))
    }
}

impl Queue {
    /// Adds a work. False when the queue has ended.
    pub(super) fn add(&self, job: Box<dyn Job>, size: Size) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.ended {
            return false;
        }
        match size {
            Size::Short => waiting.short.push_back(job),
            Size::Bulk => waiting.bulk.push_back(job),
        }
        self.came.notify_one();
        true
    }

    /// Ends the queue: nothing is added any more.
    pub(super) fn end(&self) {
        lock(&self.waiting).ended = true;
        self.came.notify_one();
    }

    /// Waits for the first work of the next transaction. None: the queue has ended, and all is done.
    pub(super) fn first(&self) -> Option<(Box<dyn Job>, Size)> {
        let mut waiting = lock(&self.waiting);
        loop {
            let order = match waiting.bulk_is_due {
                true => [Size::Bulk, Size::Short],
                false => [Size::Short, Size::Bulk],
            };
            if let Some((job, size)) = order.into_iter().find_map(|size| waiting.pop(size)) {
                waiting.bulk_is_due = size == Size::Short;
                return Some((job, size));
            }
            if waiting.ended {
                return None;
            }
            waiting = self.came.wait(waiting).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Takes a work that joins a transaction behind a work of size `behind`.
    pub(super) fn joins(&self, behind: Size) -> Option<(Box<dyn Job>, Size)> {
        let mut waiting = lock(&self.waiting);
        let short = waiting.pop(Size::Short);
        if behind == Size::Short {
            return short;
        }
        if short.is_some() {
            self.delayed.store(true, Ordering::Relaxed);
        }
        short.or_else(|| waiting.pop(Size::Bulk))
    }

    /// True when a short work had to wait for a bulk work since the last call.
    pub(super) fn has_delayed(&self) -> bool {
        self.delayed.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_work_waits_for_one_transaction_at_most() {
        struct Named;
        impl Job for Named {
            fn run(&mut self, _: &Connection) -> bool {
                true
            }
            fn answer(self: Box<Self>, _: Option<&Failed>) {}
        }
        let queue = Queue::default();
        let first = |queue: &Queue| queue.first().map(|(_, size)| size);
        for size in [Size::Bulk, Size::Short, Size::Short] {
            assert!(queue.add(Box::new(Named), size));
        }
        assert_eq!(first(&queue), Some(Size::Short));
        assert_eq!(first(&queue), Some(Size::Bulk), "though a short work waits");
        assert!(queue.add(Box::new(Named), Size::Bulk));
        assert_eq!(first(&queue), Some(Size::Short));
        queue.end();
        assert!(!queue.add(Box::new(Named), Size::Short), "the queue has ended");
        assert_eq!((first(&queue), first(&queue)), (Some(Size::Bulk), None), "what came before is done");
    }
}
