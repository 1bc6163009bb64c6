//! The nouns of membership: the nodes that declare themselves, and the operators' orders for them.

use super::Owner;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Facts that a node tells the others about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Address at which the others reach it, `HOST:PORT`; none when they cannot.
    pub address: Option<String>,
    /// Version of its program.
    pub program: String,
    /// Version of the messages that it speaks.
    pub protocol: i32,
}

/// A node of the cluster, as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Node and incarnation.
    pub owner: Owner,
    /// Facts that it tells about itself.
    pub facts: MemberFacts,
    /// Remaining time of its lease, on the database's clock; zero when it is over.
    pub lease_left: Duration,
    /// Time since its lease ended; zero while it runs.
    pub dead_for: Duration,
    /// Time at which this incarnation joined, RFC 3339.
    pub joined_at: String,
    /// Cordon that an operator ordered, if any.
    pub cordon: Option<Cordon>,
}

impl Member {
    /// True when its lease still runs.
    pub fn is_live(&self) -> bool {
        !self.lease_left.is_zero()
    }
}

/// A node that takes no more tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// True when it also gives away the tenants that it has.
    pub draining: bool,
    /// Reason of the cordon.
    pub reason: String,
    /// Operator who requested it.
    pub by: String,
    /// Time of the request, RFC 3339.
    pub at: String,
}
