//! Lease validity, and the renewals that extend it.
//!
//! The validity is counted from *before* a renewal was requested, on this process's monotonic clock. It is a
//! conservative stop condition. Safety does not depend on it; every commit is checked in the database.
//!
//! *Guarantees.* One rule says what follows a renewal ([`Validity::renewed`]). It has one caller per process: the lease
//! keeper of a node, or [`Alive`] in an engine without a node.

use decisiongraph_projections::Category;
use decisiongraph_store::{Owner, Result, Store, StoreError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Renewals per lease: two in a row may fail before the lease is over.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// Pause after a failed renewal.
const AGAIN: Duration = Duration::from_millis(300);

/// Time until which this process may assume that its lease runs. Cheap to clone; every clone sees the same time.
#[derive(Debug, Clone)]
pub struct Validity(Arc<Mutex<Instant>>);

impl Default for Validity {
    /// A validity that is over: nothing was renewed yet.
    fn default() -> Validity {
        Validity(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Validity {
    /// Notes the answer to a renewal that was requested at `asked`. Returns the pause before the next one.
    pub fn renewed(&self, asked: Instant, lease: Duration, answer: &Result<()>) -> Duration {
        match answer {
            Ok(()) => {
                self.set(asked + lease);
                lease / RENEWALS_PER_LEASE
            }
            Err(error) => {
                if error.category == Category::Fenced {
                    self.end();
                }
                AGAIN.min(lease / RENEWALS_PER_LEASE)
            }
        }
    }

    /// Ends the validity now.
    pub fn end(&self) {
        self.set(Instant::now());
    }

    fn set(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = until;
    }

    /// Returns the time left; zero when it is over.
    pub fn left(&self) -> Duration {
        let until = *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        until.saturating_duration_since(Instant::now())
    }

    /// Returns `fenced` when the lease may be over: the process must stop writing.
    pub fn check(&self) -> Result<()> {
        if !self.left().is_zero() {
            return Ok(());
        }
        Err(StoreError::fenced(
            "this process could not renew its lease in time and has stopped writing; run the command again",
        ))
    }
}

/// A running renewal, for an engine without a node. Dropping it stops it.
pub(super) struct Alive(tokio::task::JoinHandle<()>);

impl Alive {
    /// Acquires the lease and starts to renew it.
    pub async fn start(store: Arc<dyn Store>, owner: Owner, lease: Duration, validity: Validity) -> Result<Alive> {
        let asked = Instant::now();
        let answer = store.heartbeat(&owner, lease).await;
        let mut pause = validity.renewed(asked, lease, &answer);
        answer?;
        Ok(Alive(tokio::spawn(async move {
            let mut failing = false;
            loop {
                tokio::time::sleep(pause).await;
                let asked = Instant::now();
                let answer = store.heartbeat(&owner, lease).await;
                pause = validity.renewed(asked, lease, &answer);
                let before = std::mem::replace(&mut failing, answer.is_err());
                // Reported once per series of failures.
                if let Err(error) = answer
                    && !before
                {
                    tracing::warn!(category = %error.category, "lease not renewed: {}", error.message);
                }
            }
        })))
    }

    /// Stops the renewal, and waits until it holds nothing of the store any more.
    pub async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_valid_from_before_the_request_and_a_displaced_process_stops_at_once() {
        let (validity, lease) = (Validity::default(), Duration::from_secs(9));
        assert_eq!(validity.check().expect_err("nothing is renewed yet").category, Category::Fenced);
        let asked = Instant::now().checked_sub(Duration::from_secs(4)).expect("a time");
        assert_eq!(validity.renewed(asked, lease, &Ok(())), Duration::from_secs(3));
        assert!(validity.left() <= Duration::from_secs(5) && validity.check().is_ok());
        let lost = Err(StoreError::transient(Category::Unavailable, "away"));
        assert_eq!(validity.renewed(Instant::now(), lease, &lost), AGAIN);
        assert!(!validity.left().is_zero(), "a failed renewal takes nothing away");
        assert_eq!(validity.renewed(Instant::now(), AGAIN, &lost), AGAIN / RENEWALS_PER_LEASE);
        validity.renewed(Instant::now(), lease, &Err(StoreError::fenced("another process runs under the name")));
        assert!(validity.left().is_zero());
    }
}
