//! Measures how busy the machine is while a test runs. Lateness caused by a missing CPU shows up here, too.

use super::told;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Measures as long as it lives.
pub struct Strain {
    late: Arc<Mutex<Vec<Duration>>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Strain {
    pub fn watched() -> Strain {
        let late = Arc::<Mutex<Vec<Duration>>>::default();
        let watching = tokio::spawn({
            let late = Arc::clone(&late);
            async move {
                loop {
                    let asked = Instant::now();
                    tokio::time::sleep(PAUSE).await;
                    late.lock().expect("not poisoned").push(asked.elapsed().saturating_sub(PAUSE));
                }
            }
        });
        Strain { late, watching }
    }

    /// Returns the load of the machine and the delays with which this process was woken.
    pub fn told(&self) -> String {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split_whitespace().take(3).collect();
        format!("load {}; {}", load.join(" "), told("woken late by", &self.late.lock().expect("not poisoned")))
    }
}

impl Drop for Strain {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
