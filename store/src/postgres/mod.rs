//! PostgreSQL, 14 and newer: the store that many processes share.
//!
//! | file | content |
//! |---|---|
//! | [`pool`], [`tls`], [`ask`] | sessions: made, set up, assigned to writers; the ways to ask on them |
//! | [`migrate`] | the schema |
//! | [`log`], [`append`], [`move_in`], [`wake`] | the log; events appended, a whole log moved in, readers woken |
//! | [`foreign`] | the log of the original service |
//! | [`high_water`], [`outline`] | the safe end of the log; the transactions that delay it |
//! | [`read`], [`query`], [`prior`] | reads of the log and of rows, on a [`view`] |
//! | [`scope`], [`member`] | scopes and their owners; processes and members |
//! | [`commit`] | batches, fenced |
//! | [`seal`] | trees that grow in batches, signed notes |
//! | [`group`] | claims and batches that share a transaction |
//! | [`build`], [`partition`], [`sweep`] | rebuilds: begun, finished, flipped to, removed |
//! | [`turn`] | work of one process at a time |
//! | [`failure`], [`run`], [`change`] | poison events and skips, jobs, the operators' requests |
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
pub(crate) mod foreign;
mod group;
mod high_water;
mod log;
mod member;
mod migrate;
mod move_in;
mod outline;
mod partition;
mod pool;
mod prior;
mod query;
mod read;
mod rows;
mod run;
mod scope;
mod seal;
mod sweep;
mod tls;
mod turn;
mod values;
mod view;
mod wake;

use crate::{Backend, ReadView, Result, Store, StoreOptions};
use async_trait::async_trait;
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

    fn hang_up(&self) {
        self.connections.hang_up();
    }

    async fn view(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::of_pool(self.connections.clone())))
    }

    async fn snapshot(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::of_snapshot(self.connections.clone()).await?))
    }
}
