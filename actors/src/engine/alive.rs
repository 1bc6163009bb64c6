//! Keeps an owner's lease alive while jobs run, and knows until when it may be trusted.
//!
//! The trust window is counted from *before* the renewal was asked for, on this process's monotonic clock: a conservative stop
//! condition. Safety does not rest on it; every commit is checked in the database.

use decisiongraph_store::{Owner, Result, Store, StoreError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Renewals a lease: two may fail in a row before it is over.
const RENEWALS_PER_LEASE: u32 = 3;

/// A running renewal. Dropping it stops it; [`Alive::end`] also gives up what is held.
pub struct Alive {
    trusted_until: Arc<Mutex<Instant>>,
    task: tokio::task::JoinHandle<()>,
}

impl Alive {
    /// Takes the lease and starts to renew it.
    pub async fn start(store: Arc<dyn Store>, owner: Owner, lease: Duration) -> Result<Alive> {
        let asked = Instant::now();
        store.heartbeat(&owner, lease).await?;
        let trusted_until = Arc::new(Mutex::new(asked + lease));
        let window = Arc::clone(&trusted_until);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(lease / RENEWALS_PER_LEASE).await;
                let asked = Instant::now();
                match store.heartbeat(&owner, lease).await {
                    Ok(()) => set(&window, asked + lease),
                    Err(error) => tracing::warn!(category = %error.category, "lease not renewed: {}", error.message),
                }
            }
        });
        Ok(Alive { trusted_until, task })
    }

    /// `fenced` when the lease may be over: stop writing.
    pub fn check(&self) -> Result<()> {
        let until = *self.trusted_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if Instant::now() < until {
            return Ok(());
        }
        Err(StoreError::fenced(
            "this process could not renew its lease in time and has stopped writing; run the command again",
        ))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn set(window: &Mutex<Instant>, until: Instant) {
    *window.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = until;
}
