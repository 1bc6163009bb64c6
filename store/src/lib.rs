//! The only code that talks to a database: one contract ([`Store`], [`ReadView`]), two backends, one conformance suite
//! (`tests/`) that both pass.
//!
//! *Never here:* retries, timers, reconnect loops, knowledge of actors, projection rules. A call does one thing once
//! and reports its outcome; the caller decides the next step.
//!
//! # The commit protocol
//!
//! One row per scope holds owner, epoch, cursor, live generation, rolling digest and the writer's session. Takeover,
//! flip and commit all update *that* row, so they cannot interleave.
//!
//! ```text
//!   acquire_scope ──▶ Lease(epoch n) ──▶ commit, commit, commit …
//!        ▲                                  │ epoch, generation or cursor is not what the batch was computed at
//!        │                                  ▼
//!        └────────── epoch n+1 ◀──────── fenced: rolled back, nothing changed
//! ```
//!
//! One batch is one transaction: rows, resolved failures, checkpoint when due, and last of all the scope row. Its
//! condition is `WHERE cursor = from AND epoch = mine AND generation = mine`. The statement raises an error when it
//! does not hold. A lost connection during COMMIT is `outcome_unknown`: take a new epoch, then read the cursor. Never
//! guess.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[macro_use]
mod sql;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod batch;
mod columns;
pub mod crash;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod decide;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod decode;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod foreign;
mod foreign_log;
#[cfg(feature = "throwaway-postgres")]
pub mod launch;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod metadata;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod names;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sealed;
mod sections;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod since;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "throwaway-postgres")]
pub mod throwaway;
mod url;

pub use decisiongraph_records::*;
pub use foreign::ForeignLine;
pub use foreign_log::ForeignLog;
pub use sections::*;
pub use url::{DatabaseUrl, StoreOptions, open};

use async_trait::async_trait;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Projection, TenantId};

/// All operations that change a database, section by section, and the access to its read views.
#[async_trait]
pub trait Store:
    Schema + Log + Scopes + Batches + Builds + Failures + Runs + Members + Changes + Seals + Send + Sync + 'static
{
    /// Names the kind of database.
    fn backend(&self) -> Backend;

    /// Returns the address, without secrets: `postgres://user@host:port/database` or `sqlite:PATH`.
    fn address(&self) -> String;

    /// Ends the work under way, before the process ends. An embedded store writes no more from here on. It leaves its
    /// whole log in the one file, unless another process still has it open.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    /// Ends every session, also sessions with a waiting caller: the caller gets `unavailable` (from a commit:
    /// `outcome_unknown`). Used after too long a wait, and when the server is another than before. New sessions are
    /// made as needed.
    fn hang_up(&self) {}

    /// Opens a view whose reads each see the committed state at their start.
    async fn view(&self) -> Result<Box<dyn ReadView>>;

    /// Opens a view whose reads all see one instant and can change nothing (REPEATABLE READ, READ ONLY). Ends when
    /// dropped.
    async fn snapshot(&self) -> Result<Box<dyn ReadView>>;
}

/// All reading operations, section by section.
pub trait ReadView:
    ReadLog + ReadScopes + ReadRows + ReadFailures + ReadRuns + ReadMembers + ReadChanges + ReadSeals + Send + Sync
{
}

/// Recomputes the rolling digest of a generation from its rows; an edited row always changes it.
pub async fn digest_of_rows(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<RollingDigest> {
    use futures_util::StreamExt as _;
    let mut digest = RollingDigest::default();
    for (index, table) in projection.tables().iter().enumerate() {
        let mut rows = view.rows(tenant, projection, generation, index, RowOrder::Key).await?;
        while let Some(chunk) = rows.next().await {
            digest.add(table, chunk?.iter().map(|row| &row.row));
        }
    }
    Ok(digest)
}
