//! Read views: each read by itself ([`PostgresStore::view`](crate::Store::view)), or all at one instant
//! ([`PostgresStore::snapshot`](crate::Store::snapshot): REPEATABLE READ, READ ONLY, rolled back when its last user is
//! gone).

use super::ask::{Ask, Session};
use super::errors::During as _;
use super::pool::{Connections, Overdue, READ_STATEMENTS, SNAPSHOT_IDLE};
use crate::{ReadView, Result};
use deadpool_postgres::{ClientWrapper, Object};
use futures_util::FutureExt as _;
use std::ops::Deref;
use std::sync::Arc;
use tokio_postgres::{Client, Error, Statement};

/// Reads over the pool, or over one snapshot.
pub(super) struct View {
    pub(super) connections: Arc<Connections>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
}

/// A transaction that sees one instant.
pub(super) struct Snapshot {
    client: Object,
}

impl Snapshot {
    /// Opens it. Its instant is fixed before this returns.
    pub(super) async fn open(connections: &Connections) -> Result<Arc<Snapshot>> {
        let _overdue = connections.overdue(READ_STATEMENTS);
        let client = connections.get().await?;
        let idle = SNAPSHOT_IDLE.as_millis();
        // A transaction that is interrupted here ends with the value, like a completed one.
        let snapshot = Arc::new(Snapshot { client });
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL idle_in_transaction_session_timeout = {idle}; \
             SET LOCAL statement_timeout = {idle}; SELECT 1"
        );
        snapshot.client.batch_execute(&begin).await.during("open a snapshot")?;
        Ok(snapshot)
    }

    /// Returns the connection.
    pub(super) fn client(&self) -> &ClientWrapper {
        &self.client
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // Put into the connection's queue at once, before anything its next user sends. The answer is not awaited.
        let _ = self.client.batch_execute("ROLLBACK").now_or_never();
    }
}

/// A connection to read with.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one call")]
pub(super) enum Reader<'a> {
    /// Connection of the pool, for one read.
    Pooled(Object, #[expect(dead_code, reason = "lives as long")] Overdue),
    /// Connection of the snapshot.
    Snapshot(&'a Snapshot),
}

impl Session for Reader<'_> {
    fn connection(&self) -> &Client {
        self
    }
    async fn prepared(&self, sql: &str) -> std::result::Result<Statement, Error> {
        self.prepare_cached(sql).await
    }
}

impl Deref for Reader<'_> {
    type Target = ClientWrapper;
    fn deref(&self) -> &ClientWrapper {
        match self {
            Reader::Pooled(client, _) => client,
            Reader::Snapshot(snapshot) => snapshot.client(),
        }
    }
}

impl View {
    /// Creates a view whose reads each see the committed state at their start.
    pub(super) fn of_pool(connections: Arc<Connections>) -> View {
        View { connections, snapshot: None }
    }

    /// Creates a view whose reads all see one instant.
    pub(super) async fn of_snapshot(connections: Arc<Connections>) -> Result<View> {
        let snapshot = Snapshot::open(&connections).await?;
        Ok(View { connections, snapshot: Some(snapshot) })
    }

    /// Takes a session for a read.
    pub(super) async fn ask(&self, what: &'static str) -> Result<Ask<'_, Reader<'_>>> {
        let reader = match &self.snapshot {
            Some(snapshot) => Reader::Snapshot(snapshot),
            None => Reader::Pooled(self.connections.get().await?, self.connections.overdue(READ_STATEMENTS)),
        };
        Ok(Ask::new(reader, &self.connections, what))
    }
}

impl ReadView for View {}
