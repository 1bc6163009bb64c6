//! The embedded backend: one SQLite file, one writer, many readers, also across processes.
//!
//! *Guarantees.* The contract of [`crate::Store`], durable before acknowledging. There is one writer, and positions
//! become visible in their order. The safe high-water mark is therefore simply the last position that was drawn.
//!
//! *Contents:* `pool`, `writer` and `threads` for transactions and threads; `on_disk` for the file itself. The verbs
//! (`append`, `commit`, `generation`, `lease`, `pause`, `failure`, `skip`, `run`) are the work of transactions. `view`
//! is for reads, `rows` for statements from a projection's tables, `errors` for the meaning of SQLite's errors. A verb
//! is a plain function over a connection that is already inside a transaction.

mod append;
mod ask;
pub mod backup;
mod build;
mod change;
mod checkpoint;
mod commit;
mod errors;
mod failure;
mod member;
mod migrate;
mod on_disk;
mod pool;
mod query;
mod read;
mod rows;
mod run;
mod scope;
mod stream;
mod stretch;
mod threads;
mod view;
mod writer;

use crate::{
    AppendMode, Backend, BatchCommit, BuildLease, HighWaterSample, Lease, LogEnd, OpenWriter, ReadView, Result,
    SchemaStatus, Store, StoreOptions, Verdict, Wakes, crash,
};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, LogSeq, TenantId};
use pool::{Database, lock};
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
/// cut.
pub async fn scratch(path: &Path) -> Result<Arc<dyn Store>> {
    let store = SqliteStore::open(path, StoreOptions::default(), false).await?;
    store.migrate().await?;
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
        Ok(self.database.write(work).await?)
    }

    /// Wakes all listeners. A listener that has a message waiting needs no second one.
    fn wake(&self) {
        lock(&self.listeners)
            .retain(|listener| !matches!(listener.log.try_send(()), Err(mpsc::error::TrySendError::Closed(()))));
    }
}

/// Returns the current time, in milliseconds since 1970, on the database's clock.
fn now_ms(conn: &Connection) -> errors::Result<i64> {
    Ok(conn.prepare_cached("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")?.query_row([], |row| row.get(0))?)
}

#[async_trait]
impl Store for SqliteStore {
    fn backend(&self) -> Backend {
        Backend::Sqlite
    }

    fn address(&self) -> String {
        format!("sqlite:{}", self.database.file.path.display())
    }

    async fn migrate(&self) -> Result<Vec<String>> {
        let file = self.database.file.clone();
        Ok(blocking(move || file.migrate()).await?)
    }

    async fn close(&self) -> Result<()> {
        let database = self.database.clone();
        Ok(blocking(move || database.close().map_err(|error| errors::named(&database.file.path, error))).await?)
    }

    async fn schema_status(&self) -> Result<SchemaStatus> {
        let file = self.database.file.clone();
        Ok(blocking(move || file.schema_status()).await?)
    }

    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>> {
        let (tenant, events) = (tenant.clone(), events.to_vec());
        let verdicts = self.write(move |conn| append::append(conn, &tenant, &events, mode)).await?;
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Accepted { .. })) {
            self.wake();
        }
        Ok(verdicts)
    }

    async fn sample_high_water(&self) -> Result<HighWaterSample> {
        let LogEnd { sequence, history } = self.log_end().await?;
        Ok(HighWaterSample { sequence, writers: Vec::new(), history })
    }

    async fn log_end(&self) -> Result<LogEnd> {
        let reader = self.database.reader().await?;
        let file = self.database.file.clone();
        let (sequence, identity) = blocking(move || {
            file.check_place().map_err(|error| errors::named(&file.path, error))?;
            reader.read(|conn| {
                Ok(conn.query_row(include_str!("sql/high_water.sql"), [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                })?)
            })
        })
        .await?;
        // Another file under the same name has another history.
        let history = format!("{identity}/{}", self.database.file.on_disk.name());
        Ok(LogEnd { sequence: LogSeq(sequence), history })
    }

    async fn writable(&self) -> Result<()> {
        Ok(self.database.writable()?)
    }

    async fn writers_still_open(&self, _writers: &[OpenWriter]) -> Result<Vec<OpenWriter>> {
        Ok(Vec::new())
    }

    async fn wakes(&self) -> Result<Wakes> {
        let (log, log_receiver) = mpsc::channel(1);
        let (members, member_receiver) = mpsc::channel(1);
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| !listener.log.is_closed());
        listeners.push(Listener { log, _members: members });
        Ok(Wakes { log: log_receiver, members: member_receiver })
    }

    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()> {
        let (lease, batch) = (lease.clone(), commit::Batch::from(batch));
        self.write(move |conn| commit::commit(conn, &lease, &batch)).await?;
        crash::point("commit.after_commit");
        Ok(())
    }

    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()> {
        let (lease, batch) = (lease.clone(), commit::Batch::from(batch));
        self.write(move |conn| commit::commit_build(conn, &lease, &batch)).await?;
        crash::point("build.after_commit");
        Ok(())
    }

    async fn view(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::fresh(self.database.clone())))
    }

    async fn snapshot(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::snapshot(self.database.clone()).await?))
    }
}
