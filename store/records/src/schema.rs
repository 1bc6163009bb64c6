//! Which schema a database has, and whether a program can work on it.

use serde::{Deserialize, Serialize};

/// State of the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaStatus {
    /// The newest migration that the database has; 0 when it has none.
    pub database: i64,
    /// The newest migration that this program has.
    pub program: i64,
    /// The oldest program, by its newest migration, that this database's schema still serves: during a rolling upgrade programs of two
    /// versions work on it. 0 when it has no schema.
    pub serves_from: i64,
}

/// Whether a program can work on a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaFit {
    /// They are of one version.
    Same,
    /// The schema is newer, and made so that this program still works on it.
    ServesOlder,
    /// The schema is older: it has to be migrated.
    Behind,
    /// The schema is too new for this program.
    TooNew,
}

impl SchemaStatus {
    /// Whether this program can work on this schema.
    pub fn fit(&self) -> SchemaFit {
        match self.database.cmp(&self.program) {
            std::cmp::Ordering::Equal => SchemaFit::Same,
            std::cmp::Ordering::Less => SchemaFit::Behind,
            std::cmp::Ordering::Greater if self.serves_from <= self.program => SchemaFit::ServesOlder,
            std::cmp::Ordering::Greater => SchemaFit::TooNew,
        }
    }
}
