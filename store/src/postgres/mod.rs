//! PostgreSQL, 14 and newer: the store that many processes share.
//!
//! | file | verb |
//! |---|---|
//! | [`pool`], [`tls`] | sessions: made, set up, assigned to writers |
//! | [`migrate`] | the schema |
//! | [`append`], [`wake`] | events appended, readers woken |
//! | [`high_water`], [`outline`] | the safe end of the log; the transactions that delay it |
//! | [`read`], [`prior`], [`query`], [`scope`] | reading, behind [`view`] |
//! | [`lease`], [`member`], [`pause`] | ownership; membership; pauses of scopes |
//! | [`commit`] | batches, fenced |
//! | [`generation`], [`sweep`] | rebuilds: begun, finished, flipped to, removed |
//! | [`turn`] | work of one process at a time |
//! | [`failure`], [`skip`], [`run`] | poison events, skips, jobs |
//! | [`rows`], [`values`] | statements from table descriptions; values on the wire |
//! | [`errors`] | the only place that maps the server's errors |
//!
//! *Invariants.* A batch is a handful of statements whatever its size. No statement's cost grows with history, except
//! for requests of the whole history. Every session's time-outs bound how long a stopped client can hold what others
//! need.

mod append;
mod ask;
mod build;
mod change;
mod commit;
mod errors;
mod failure;
mod high_water;
mod member;
mod migrate;
mod outline;
mod partition;
mod pool;
mod prior;
mod query;
mod read;
mod rows;
mod run;
mod scope;
mod sweep;
mod tls;
mod turn;
mod values;
mod view;
mod wake;

use crate::{
    AppendMode, Backend, BatchCommit, BuildLease, HighWaterSample, Lease, LogEnd, OpenWriter, ReadView, Result,
    SchemaStatus, Store, StoreOptions, Verdict, Wakes,
};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, TenantId};
use std::sync::Arc;

/// Opens the store: reads the URL, and connects once to check early that it works. Does not migrate.
pub async fn open(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>> {
    let connections = Arc::new(pool::Connections::new(url, &options)?);
    if !options.later {
        drop(connections.get().await?);
    }
    Ok(Arc::new(PostgresStore { connections, waker: wake::Waker::default() }))
}

struct PostgresStore {
    connections: Arc<pool::Connections>,
    waker: wake::Waker,
}

impl PostgresStore {
    /// Acts on a call's finding about its session.
    async fn judged<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.connections.judged(call.await)
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn backend(&self) -> Backend {
        Backend::Postgres
    }

    fn address(&self) -> String {
        self.connections.address().to_owned()
    }

    async fn migrate(&self) -> Result<Vec<String>> {
        migrate::migrate(self).await
    }

    async fn migration_waits_for(&self) -> Result<Option<String>> {
        migrate::waits_for(self).await
    }

    async fn schema_status(&self) -> Result<SchemaStatus> {
        migrate::status(self).await
    }

    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>> {
        let _overdue = self.connections.overdue(pool::BATCH_STATEMENTS);
        self.judged(append::append(self, tenant, events, mode)).await
    }

    async fn sample_high_water(&self) -> Result<HighWaterSample> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(high_water::sample(self)).await
    }

    async fn log_end(&self) -> Result<LogEnd> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(async { high_water::end(&*self.connections.get().await?).await }).await
    }

    async fn writable(&self) -> Result<()> {
        self.judged(async { high_water::writable(&*self.connections.get().await?).await }).await
    }

    async fn writers_still_open(&self, writers: &[OpenWriter]) -> Result<Vec<OpenWriter>> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(async { high_water::still_open(&*self.connections.get().await?, writers).await }).await
    }

    async fn wakes(&self) -> Result<Wakes> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        wake::wakes(&self.connections).await
    }

    fn hang_up(&self) {
        self.connections.hang_up();
    }

    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()> {
        self.judged(commit::commit(self, lease, batch)).await
    }

    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()> {
        self.judged(commit::commit_build(self, lease, batch)).await
    }

    async fn view(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::of_pool(self.connections.clone())))
    }

    async fn snapshot(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::of_snapshot(self.connections.clone()).await?))
    }
}
