//! Keeps an owner's lease alive while jobs run, and knows how long the lease may be trusted.
//!
//! The trust window is counted from *before* the renewal was asked for, on this process's monotonic clock. It is a
//! conservative stop condition. Safety does not depend on it; every commit is checked in the database.

use decisiongraph_store::{Owner, Result, Store, StoreError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Trust window: the time until which this process may believe that its lease runs. Cheap to clone; every clone sees
/// the same window.
#[derive(Debug, Clone)]
pub struct Trust(Arc<Mutex<Instant>>);

impl Default for Trust {
    /// A window that is over: nothing was renewed yet.
    fn default() -> Trust {
        Trust(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Trust {
    /// Opens the window until `until`: the moment before the renewal was asked for, plus the lease.
    pub fn extend(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = until;
    }

    /// Closes the window now.
    pub fn end(&self) {
        self.extend(Instant::now());
    }

    /// Returns the time left in the window; zero when it is over.
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

/// Renewals per lease: two in a row may fail before the lease is over.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// Pause after a failed renewal.
pub const AGAIN: Duration = Duration::from_millis(300);

/// A running renewal. Dropping it stops it.
pub struct Alive {
    trust: Trust,
    task: tokio::task::JoinHandle<()>,
}

impl Alive {
    /// Acquires the lease and starts to renew it.
    pub async fn start(store: Arc<dyn Store>, owner: Owner, lease: Duration) -> Result<Alive> {
        let asked = Instant::now();
        store.heartbeat(&owner, lease).await?;
        let trust = Trust::default();
        trust.extend(asked + lease);
        let window = trust.clone();
        let task = tokio::spawn(async move {
            let mut failing = false;
            loop {
                tokio::time::sleep(if failing {
                    AGAIN.min(lease / RENEWALS_PER_LEASE)
                } else {
                    lease / RENEWALS_PER_LEASE
                })
                .await;
                let asked = Instant::now();
                match store.heartbeat(&owner, lease).await {
                    Ok(()) => {
                        failing = false;
                        window.extend(asked + lease);
                    }
                    // Reported once per series of failures.
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(category = %error.category, "lease not renewed: {}", error.message);
                        }
                    }
                }
            }
        });
        Ok(Alive { trust, task })
    }

    /// Returns the window that the renewals keep open.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }
}

impl Alive {
    /// Stops the renewal, and waits until it holds nothing of the store any more.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.task.abort();
    }
}
