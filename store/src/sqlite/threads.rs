//! Threads for calls that block; the most recently used thread comes first.
//!
//! *Why not the runtime's own:* it wakes any of its threads, so that each of a dozen allocates in turn. The allocator
//! then keeps each thread's peak memory. Here a few threads do nearly all the work. The threads that read pages of the
//! log, by far the most of all allocation, do nothing else. The memory of a long job therefore stays flat.

use super::errors::Result;
use super::pool::lock;
use crate::StoreError;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Time that a thread rests before it ends.
const REST: Duration = Duration::from_secs(10);

/// A call that also answers its caller. Before the answer it reports that its thread rests, so that the caller finds it
/// resting.
type Work = Box<dyn FnOnce(&dyn Fn()) + Send>;

/// Resting threads, and maybe some that ended.
pub(super) struct Threads(Mutex<Vec<Sender<Work>>>);

/// Threads for pages of the log.
pub(super) static PAGES: Threads = Threads(Mutex::new(Vec::new()));
/// Threads for all other calls.
pub(super) static CALLS: Threads = Threads(Mutex::new(Vec::new()));

/// Runs a call that blocks on a thread that does nothing else meanwhile.
pub(super) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    CALLS.run(call).await
}

impl Threads {
    /// Runs a call that blocks on one of these threads, which does nothing else meanwhile.
    pub async fn run<T: Send + 'static>(&'static self, call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (tell, told) = oneshot::channel();
        self.give(Box::new(move |rests| {
            let answer = call();
            rests();
            // A caller that no longer waits needs no answer.
            let _ = tell.send(answer);
        }))?;
        told.await.unwrap_or_else(|_| Err(StoreError::internal("a database call panicked").into()))
    }

    fn give(&'static self, mut work: Work) -> Result<()> {
        loop {
            let Some(thread) = lock(&self.0).pop() else { break };
            match thread.send(work) {
                Ok(()) => return Ok(()),
                // That thread has ended.
                Err(back) => work = back.0,
            }
        }
        let (own, next) = channel();
        let thread = std::thread::Builder::new().name("sqlite".to_owned());
        let spawned = thread.spawn(move || self.work_on(work, &own, &next));
        spawned.map_err(|error| StoreError::internal(format!("cannot start a thread for a database call: {error}")))?;
        Ok(())
    }

    fn work_on(&self, mut work: Work, own: &Sender<Work>, next: &Receiver<Work>) {
        loop {
            work(&|| lock(&self.0).push(own.clone()));
            match next.recv_timeout(REST) {
                Ok(more) => work = more,
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn its_thread() -> std::thread::ThreadId {
        blocking(|| Ok(std::thread::current().id())).await.expect("an answer")
    }

    #[tokio::test]
    async fn a_call_that_panics_is_told_and_the_next_one_is_not_hurt() {
        let panics = blocking(|| -> Result<()> { panic!("as a defect does") }).await;
        assert!(panics.is_err_and(|error| error.category == decisiongraph_projections::Category::Internal));
        its_thread().await;
    }

    #[tokio::test]
    async fn who_rested_last_is_first() {
        // Other tests call as well, so not always.
        let mut same = 0;
        for _ in 0..100 {
            same += usize::from(its_thread().await == its_thread().await);
        }
        assert!(same > 50, "{same}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_that_wait_for_each_other_are_all_under_way() {
        let all = std::sync::Arc::new(std::sync::Barrier::new(20));
        let waits = |_| {
            let all = all.clone();
            blocking(move || Ok(all.wait()))
        };
        let met =
            tokio::time::timeout(Duration::from_secs(20), futures_util::future::join_all((0..20).map(waits))).await;
        assert_eq!(met.expect("they met").len(), 20);
    }
}
