//! The schema of a database, and its fit with a program.

use serde::{Deserialize, Serialize};

/// State of the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaStatus {
    /// Newest migration that the database has; 0 when it has none.
    pub database: i64,
    /// Newest migration that this program has.
    pub program: i64,
    /// Oldest program, by its newest migration, that this database's schema still serves. During a rolling upgrade,
    /// programs of two versions work on it. 0 when it has no schema.
    pub serves_from: i64,
}

/// Fit of a program with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaFit {
    /// Program and schema have the same version.
    Same,
    /// The schema is newer, and this program still works on it by design.
    ServesOlder,
    /// The schema is older and must be migrated.
    Behind,
    /// The schema is too new for this program.
    TooNew,
}

impl SchemaStatus {
    /// Compares the schema with this program.
    pub fn fit(&self) -> SchemaFit {
        match self.database.cmp(&self.program) {
            std::cmp::Ordering::Equal => SchemaFit::Same,
            std::cmp::Ordering::Less => SchemaFit::Behind,
            std::cmp::Ordering::Greater if self.serves_from <= self.program => SchemaFit::ServesOlder,
            std::cmp::Ordering::Greater => SchemaFit::TooNew,
        }
    }
}
