//! The schema of a database, and its fit with a program.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

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
    /// Migrations of this program's fork that the database lacks, by name. They have numbers of their own.
    pub fork_lacks: Vec<String>,
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
            Ordering::Greater if self.serves_from > self.program => SchemaFit::TooNew,
            Ordering::Less => SchemaFit::Behind,
            _ if !self.fork_lacks.is_empty() => SchemaFit::Behind,
            Ordering::Equal => SchemaFit::Same,
            Ordering::Greater => SchemaFit::ServesOlder,
        }
    }

    /// Names the schema that this program needs: its newest migration, and those of its fork that the database lacks.
    pub fn needed(&self) -> String {
        [self.program.to_string()].into_iter().chain(self.fork_lacks.iter().cloned()).collect::<Vec<_>>().join(" and ")
    }
}
