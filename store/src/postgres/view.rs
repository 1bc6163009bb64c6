//! Read views: each read by itself ([`PostgresStore::view`](crate::Store::view)), or all at one instant
//! ([`PostgresStore::snapshot`](crate::Store::snapshot): REPEATABLE READ, READ ONLY, rolled back when its last user is
//! gone).

use super::ask::{Ask, Session};
use super::errors::During as _;
use super::pool::{Connections, Overdue, READ_STATEMENTS, SNAPSHOT_IDLE};
use super::{prior, query, read};
use crate::{
    Direction, Generation, Lag, PageLimit, Paged, PrecedentFilter, PrecedentHit, ReadView, Result, RowOrder, RowStream,
    Stray, TenantHead,
};
use async_trait::async_trait;
use deadpool_postgres::{ClientWrapper, Object};
use decisiongraph_projections::{LogEvent, LogSeq, Needs, Prior, Projection, Recalled, Row, StoredEvent, TenantId};
use futures_util::FutureExt as _;
use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;
use tokio_postgres::{Client, Error, Statement};

/// Reads over the pool, or over one snapshot.
pub(super) struct View {
    connections: Arc<Connections>,
    snapshot: Option<Arc<Snapshot>>,
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
        Ok(Ask::new(self.reader().await?, &self.connections, what))
    }

    async fn reader(&self) -> Result<Reader<'_>> {
        match &self.snapshot {
            Some(snapshot) => Ok(Reader::Snapshot(snapshot)),
            None => Ok(Reader::Pooled(self.connections.get().await?, self.connections.overdue(READ_STATEMENTS))),
        }
    }
}

#[async_trait]
impl ReadView for View {
    async fn page(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>> {
        read::page(&*self.reader().await?, tenant, after, upto, limit).await
    }

    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> Result<HashMap<Arc<str>, i64>> {
        read::heads(&*self.reader().await?, tenant, traces, upto).await
    }

    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>> {
        read::history(&*self.reader().await?, tenant, projection, traces, upto, bytes_max).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        read::events(&*self.reader().await?, tenant, after, upto, limit).await
    }

    async fn trace_events(
        &self,
        tenant: &TenantId,
        trace_id: &str,
        after: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        read::trace_events(&*self.reader().await?, tenant, trace_id, after, limit).await
    }

    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq> {
        read::last_log_seq(&*self.reader().await?, tenant, upto).await
    }

    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, bound: u64) -> Result<Vec<Lag>> {
        read::lags(&*self.reader().await?, cursors, mark, bound).await
    }

    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> Result<u64> {
        read::count_events(&*self.reader().await?, tenant, after, upto, bound).await
    }

    async fn tenants(&self) -> Result<Vec<TenantId>> {
        read::tenants(&*self.reader().await?).await
    }

    async fn strays(&self, limit: usize) -> Result<Vec<Stray>> {
        read::strays(&*self.reader().await?, limit).await
    }

    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>> {
        read::tenant_heads(&*self.reader().await?, after, limit).await
    }

    async fn last_log_seqs(&self) -> Result<Vec<(TenantId, LogSeq)>> {
        read::last_log_seqs(&*self.reader().await?).await
    }

    async fn tenants_with_events(&self, after: LogSeq, upto: LogSeq, limit: usize) -> Result<Vec<(TenantId, LogSeq)>> {
        read::tenants_with_events(&*self.reader().await?, after, upto, limit).await
    }

    async fn tenants_behind(
        &self,
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, LogSeq)>> {
        read::tenants_behind(&*self.reader().await?, upto, after_tenant, limit).await
    }

    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> Result<Option<Prior>> {
        prior::prior_rows(&*self.reader().await?, tenant, projection, generation, needs, bytes_max).await
    }

    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> Result<RowStream> {
        // A stream is read in many steps, so it needs its own instant when the view has none.
        let snapshot = match &self.snapshot {
            Some(snapshot) => snapshot.clone(),
            None => Snapshot::open(&self.connections).await?,
        };
        query::rows(snapshot, tenant, &projection.tables()[table], generation, order).await
    }

    async fn edges_touching(
        &self,
        tenant: &TenantId,
        generation: Generation,
        nodes: &BTreeSet<String>,
        edge_types: Option<&[String]>,
        after_edge_id: Option<&str>,
        limit: PageLimit,
    ) -> Result<Paged<Row>> {
        query::edges_touching(&*self.reader().await?, tenant, generation, nodes, edge_types, after_edge_id, limit).await
    }

    async fn edges_of(
        &self,
        tenant: &TenantId,
        generation: Generation,
        node_id: &str,
        direction: Direction,
        after: Option<(LogSeq, &str)>,
        limit: PageLimit,
    ) -> Result<Paged<Row>> {
        query::edges_of(&*self.reader().await?, tenant, generation, node_id, direction, after, limit).await
    }

    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> Result<Paged<PrecedentHit>> {
        query::precedents(&*self.reader().await?, tenant, summaries, precedents, filter, bytes_max).await
    }
}
