//! The schema of the database.

use crate::request::{Facts, FromDatabase, Reply, Request};
use serde::{Deserialize, Serialize};

/// Bring the schema up to this program's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateRequest;

impl Request for MigrateRequest {
    const FACTS: Facts = Facts::changes("migrate", None);
    type Reply = MigrateReply;
    type Source = FromDatabase;
}

/// Result of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateReply {
    /// Names of the migrations that this request applied.
    pub applied: Vec<String>,
    /// Newest migration that the database has.
    pub schema: i64,
}

impl Reply for MigrateReply {}
