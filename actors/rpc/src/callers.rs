//! The open connections, and the proof of each connection's user.
//!
//! *Guarantees.* A connection's number is drawn at random by the node and sent only to its other end. So an ask that
//! names it comes from there. Numbers of connections that ended prove nothing.

use decisiongraph_protocol::Proof;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The connections past the preamble. Bounded by the listener.
#[derive(Debug, Default)]
pub struct Callers(Mutex<HashMap<Uuid, Proof>>);

impl Callers {
    /// Notes a connection, for as long as the returned value is kept.
    pub fn enter(self: &Arc<Callers>, connection: Uuid, proof: Proof) -> Present {
        self.lock().insert(connection, proof);
        Present { callers: Arc::clone(self), connection }
    }

    /// Returns the proof of the user of the connection with this number.
    pub fn proof(&self, connection: Option<Uuid>) -> Proof {
        connection.and_then(|connection| self.lock().get(&connection).cloned()).unwrap_or(Proof::None)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Present {
    callers: Arc<Callers>,
    connection: Uuid,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.callers.lock().remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_is_open_proves_anything() {
        let callers = Arc::new(Callers::default());
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let present = callers.enter(one, Proof::User(7));
        assert_eq!(callers.proof(Some(one)), Proof::User(7));
        assert_eq!((callers.proof(Some(other)), callers.proof(None)), (Proof::None, Proof::None));
        drop(present);
        assert_eq!(callers.proof(Some(one)), Proof::None);
    }
}
