//! The schema of the database.

use crate::{Result, SchemaStatus};
use async_trait::async_trait;

/// Brings the schema up to date. Works on an empty database.
#[async_trait]
pub trait Schema: Sync {
    /// Brings the schema up to this program's. Safe to run twice and by two processes at once. `version_mismatch` when
    /// the database is newer. Returns the names of the migrations it applied.
    async fn migrate(&self) -> Result<Vec<String>>;

    /// Reports why [`Schema::migrate`] takes long, if it waits for another session, and the remedy.
    async fn migration_waits_for(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Reads the schema of the database and of the program. Works on an empty database.
    async fn schema_status(&self) -> Result<SchemaStatus>;
}
