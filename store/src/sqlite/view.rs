//! Read views: each call its own instant ([`View::fresh`]), or all calls one instant ([`View::snapshot`]).

use super::pool::{Database, Reader, lock};
use super::threads::{CALLS, PAGES, Threads, blocking};
use super::{errors, query, read, stream};
use crate::{
    Direction, Generation, Lag, PageLimit, Paged, PrecedentFilter, PrecedentHit, ReadView, Result, RowOrder, RowStream,
    Stray, TenantHead,
};
use async_trait::async_trait;
use decisiongraph_projections::{LogEvent, LogSeq, Needs, Prior, Projection, Recalled, Row, StoredEvent, TenantId};
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// A read view.
pub(super) struct View {
    database: Arc<Database>,
    /// The connection whose open transaction is the snapshot.
    held: Option<Arc<Mutex<Reader>>>,
}

impl View {
    /// Creates a view whose calls each see the committed state at their start.
    pub fn fresh(database: Arc<Database>) -> View {
        View { database, held: None }
    }

    /// Creates a view whose calls all see the state committed now.
    pub async fn snapshot(database: Arc<Database>) -> Result<View> {
        let held = hold(&database).await?;
        Ok(View { database, held: Some(held) })
    }

    /// Reads.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read_on(&CALLS, work).await
    }

    async fn read_on<T: Send + 'static>(
        &self,
        threads: &'static Threads,
        work: impl FnOnce(&Connection) -> errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.held {
            Some(held) => {
                let held = held.clone();
                Ok(threads.run(move || lock(&held).read(work)).await?)
            }
            None => {
                let reader = self.database.reader().await?;
                Ok(threads.run(move || reader.read(work)).await?)
            }
        }
    }
}

/// Opens a reader with a transaction that sees the present instant.
async fn hold(database: &Arc<Database>) -> Result<Arc<Mutex<Reader>>> {
    let reader = database.reader().await?;
    Ok(blocking(move || {
        reader.hold()?;
        Ok(Arc::new(Mutex::new(reader)))
    })
    .await?)
}

#[async_trait]
impl ReadView for View {
    async fn page(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>> {
        let tenant = tenant.clone();
        self.read_on(&PAGES, move |conn| read::page(conn, &tenant, after, upto, limit)).await
    }

    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> Result<HashMap<Arc<str>, i64>> {
        let (tenant, traces) = (tenant.clone(), traces.clone());
        self.read(move |conn| read::heads(conn, &tenant, &traces, upto)).await
    }

    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>> {
        let (tenant, traces) = (tenant.clone(), traces.clone());
        self.read(move |conn| read::history(conn, &tenant, projection, &traces, upto, bytes_max)).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        let tenant = tenant.clone();
        self.read(move |conn| read::events(conn, &tenant, after, upto, limit)).await
    }

    async fn trace_events(
        &self,
        tenant: &TenantId,
        trace_id: &str,
        after: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        let (tenant, trace_id) = (tenant.clone(), trace_id.to_owned());
        self.read(move |conn| read::trace_events(conn, &tenant, &trace_id, after, limit)).await
    }

    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq> {
        let tenant = tenant.clone();
        self.read(move |conn| read::last_log_seq(conn, &tenant, upto)).await
    }

    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, bound: u64) -> Result<Vec<Lag>> {
        let cursors = cursors.to_vec();
        let lags = move |conn: &Connection| {
            cursors.iter().map(|(tenant, cursor)| read::lag(conn, tenant, *cursor, mark, bound)).collect()
        };
        self.read(lags).await
    }

    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> Result<u64> {
        let tenant = tenant.clone();
        self.read(move |conn| read::count(conn, &tenant, after, upto, bound)).await
    }

    async fn tenants(&self) -> Result<Vec<TenantId>> {
        self.read(read::tenants).await
    }

    async fn strays(&self, limit: usize) -> Result<Vec<Stray>> {
        self.read(move |conn| read::strays(conn, limit)).await
    }

    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>> {
        let after = after.cloned();
        self.read(move |conn| read::tenant_heads(conn, after.as_ref(), limit)).await
    }

    async fn last_log_seqs(&self) -> Result<Vec<(TenantId, LogSeq)>> {
        self.read(read::last_log_seqs).await
    }

    async fn tenants_with_events(&self, after: LogSeq, upto: LogSeq, limit: usize) -> Result<Vec<(TenantId, LogSeq)>> {
        self.read(move |conn| read::tenants_with_events(conn, after, upto, limit)).await
    }

    async fn tenants_behind(
        &self,
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, LogSeq)>> {
        let after = after_tenant.cloned();
        self.read(move |conn| read::tenants_behind(conn, upto, after.as_ref(), limit)).await
    }

    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> Result<Option<Prior>> {
        let (tenant, tables, needs) = (tenant.clone(), projection.tables(), Arc::clone(needs));
        self.read(move |conn| read::prior_rows(conn, &tenant, tables, generation, &needs, bytes_max)).await
    }

    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> Result<RowStream> {
        let table = &projection.tables()[table];
        // Outside a snapshot, the stream opens its own.
        let reader = match &self.held {
            Some(held) => held.clone(),
            None => hold(&self.database).await?,
        };
        Ok(stream::rows(reader, table, tenant.clone(), generation, order).await?)
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
        let (tenant, nodes) = (tenant.clone(), nodes.clone());
        let edge_types = edge_types.map(<[String]>::to_vec);
        let after = after_edge_id.map(str::to_owned);
        self.read(move |conn| {
            query::edges_touching(conn, &tenant, generation, &nodes, edge_types.as_deref(), after.as_deref(), limit)
        })
        .await
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
        let (tenant, node_id) = (tenant.clone(), node_id.to_owned());
        let after = after.map(|(log_seq, edge_id)| (log_seq, edge_id.to_owned()));
        self.read(move |conn| {
            let after = after.as_ref().map(|(log_seq, edge_id)| (*log_seq, edge_id.as_str()));
            query::edges_of(conn, &tenant, generation, &node_id, direction, after, limit)
        })
        .await
    }

    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> Result<Paged<PrecedentHit>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.read(move |conn| query::precedents(conn, &tenant, summaries, precedents, &filter, bytes_max)).await
    }
}
