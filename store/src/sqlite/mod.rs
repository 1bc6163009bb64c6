//! The embedded backend: one SQLite file, one writer, many readers, also across processes.
//!
//! *Guarantees.* The contract of [`crate::Store`], durable before acknowledging. There is one writer, and positions
//! become visible in their order. The safe high-water mark is therefore simply the last position that was drawn.
//!
//! *Contents:* `pool`, `queue`, `writer` and `threads` for transactions and threads; `ask` for statements; `on_disk`
//! for the file itself. Each section of the contract is implemented in the file of its noun: `log` (with `append` and
//! `read`), `scope`, `member`, `commit`, `seal`, `build`, `failure`, `run`, `change`, `query` (with `stream`),
//! `migrate`.
//! `view` is for reads, `rows` for statements from a projection's tables, `errors` for the meaning of SQLite's errors.
//! The work of a verb is a plain function over a connection that is already inside a transaction.

mod append;
mod ask;
pub mod backup;
mod build;
mod change;
mod checkpoint;
mod commit;
mod errors;
mod failure;
pub(crate) mod foreign;
mod log;
mod member;
mod migrate;
mod on_disk;
mod pool;
mod query;
mod queue;
mod read;
mod rows;
mod run;
mod scope;
mod seal;
mod stream;
mod stretch;
mod threads;
mod view;
mod writer;

use crate::{Backend, ReadView, Result, Schema as _, Store, StoreOptions};
use async_trait::async_trait;
use pool::{Database, lock};
use queue::Size;
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Mutex};
use threads::blocking;
use tokio::sync::mpsc;

/// A store in one SQLite file.
pub struct SqliteStore {
    database: Arc<Database>,
    /// Listeners for appends, in this process.
    listeners: Mutex<Vec<Listener>>,
}

/// A listener.
struct Listener {
    log: mpsc::Sender<()>,
    /// Never used: an embedded store has one node.
    _members: mpsc::Sender<()>,
}

/// Opens the file of an embedded store. Does not migrate.
pub async fn open(path: &Path, options: StoreOptions) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(SqliteStore::open(path, options, true).await?))
}

/// Opens a store for intermediate results, migrated, in a file that its owner deletes. Nothing in it survives a power
/// cut. It answers what a fold asks; queries over the read models would find no index.
pub async fn scratch(path: &Path) -> Result<Arc<dyn Store>> {
    let store = SqliteStore::open(path, StoreOptions::default(), false).await?;
    store.migrate().await?;
    store.write(|conn| Ok(conn.execute_batch(sql!(pool::SQL, "scratch"))?)).await?;
    Ok(Arc::new(store))
}

impl SqliteStore {
    async fn open(path: &Path, options: StoreOptions, durable: bool) -> Result<SqliteStore> {
        let path = path.to_owned();
        let database = blocking(move || Database::open(&path, &options, durable)).await?;
        Ok(SqliteStore { database: Arc::new(database), listeners: Mutex::new(Vec::new()) })
    }

    /// Runs owned work in one writing transaction.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.database.write(Size::Short, work).await?)
    }

    /// Runs the same for work that gives way to others.
    async fn write_bulk<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.database.write(Size::Bulk, work).await?)
    }

    /// Wakes all listeners. A listener that has a message waiting needs no second one.
    fn wake(&self) {
        lock(&self.listeners)
            .retain(|listener| !matches!(listener.log.try_send(()), Err(mpsc::error::TrySendError::Closed(()))));
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn backend(&self) -> Backend {
        Backend::Sqlite
    }

    fn address(&self) -> String {
        format!("sqlite:{}", self.database.file.path.display())
    }

    async fn close(&self) -> Result<()> {
        let database = self.database.clone();
        Ok(blocking(move || database.close().map_err(|error| errors::named(&database.file.path, error))).await?)
    }

    async fn view(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::fresh(self.database.clone())))
    }

    async fn snapshot(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::snapshot(self.database.clone()).await?))
    }
}
