//! A supervisor whose children come and go, as the part that starts and stops them reaches it.

use decisiongraph_supervision::SupervisorRef;
use std::sync::{Mutex, PoisonError};

/// Handle of a dynamic supervisor over its lives; none before the first.
#[derive(Default)]
pub struct Children(Mutex<Option<SupervisorRef>>);

impl Children {
    /// Attaches the supervisor of a new life.
    pub fn attach(&self, supervisor: SupervisorRef) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
    }

    /// Returns the supervisor of the present life.
    pub fn supervisor(&self) -> Option<SupervisorRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
