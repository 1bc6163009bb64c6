//! The stop of a node, as its parts see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that is raised when the node stops: from then on no job is started or brought back.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Notes that the node stops.
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// True when the node stops.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
