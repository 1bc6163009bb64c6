//! The nouns of membership: who says it is a node, and what operators want of it.

use super::Owner;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a node says of itself to the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Where the others reach it, `HOST:PORT`; nowhere when none.
    pub address: Option<String>,
    /// The version of its program.
    pub program: String,
    /// The version of the messages that it speaks.
    pub protocol: i32,
}

/// A node of the cluster, as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub owner: Owner,
    /// What it says of itself.
    pub facts: MemberFacts,
    /// How long its lease still runs, on the database's clock; zero when it is over.
    pub lease_left: Duration,
    /// How long its lease has been over; zero while it runs.
    pub dead_for: Duration,
    /// Since when this incarnation is there, RFC 3339.
    pub joined_at: String,
    /// What operators want of it.
    pub cordon: Option<Cordon>,
}

impl Member {
    /// Whether its lease still runs.
    pub fn is_live(&self) -> bool {
        !self.lease_left.is_zero()
    }
}

/// A node that takes no more tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Whether it also gives away those that it has.
    pub draining: bool,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
}
