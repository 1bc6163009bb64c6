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
pub mod backup;
mod change;
mod checkpoint;
mod commit;
mod drift;
mod errors;
mod failure;
mod generation;
mod lease;
mod member;
mod migrate;
mod on_disk;
mod pause;
mod pool;
mod query;
mod read;
mod rows;
mod run;
mod skip;
mod stream;
mod stretch;
mod threads;
mod view;
mod writer;

use crate::{
    Acquisition, AppendMode, Backend, BatchCommit, BuildLease, Compared, Creation, Failure, Flip, HighWaterSample,
    Lease, LogEnd, MemberFacts, NewChange, NewFailure, NewRun, OpenWriter, Owner, Position, ReadView, Result, Run,
    RunOutcome, RunProgress, SchemaStatus, Scope, ScopeRow, Skip, Storage, Store, StoreOptions, Sweep, Verdict, Wakes,
    crash,
};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, LogSeq, TenantId};
use pool::{Database, lock};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use threads::blocking;
use tokio::sync::mpsc;
use uuid::Uuid;

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

    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()> {
        let owner = owner.clone();
        self.write(move |conn| lease::heartbeat(conn, &owner, ttl)).await
    }

    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()> {
        let (owner, facts) = (owner.clone(), facts.clone());
        self.write(move |conn| member::join(conn, &owner, ttl, &facts)).await
    }

    async fn leave(&self, owner: &Owner) -> Result<()> {
        let owner = owner.clone();
        self.write(move |conn| lease::leave(conn, &owner)).await
    }

    async fn bury(&self, owner: &Owner) -> Result<()> {
        let owner = owner.clone();
        self.write(move |conn| lease::bury(conn, &owner)).await
    }

    async fn forget(&self, node: &str) -> Result<bool> {
        let node = node.to_owned();
        self.write(move |conn| member::forget(conn, &node)).await
    }

    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>> {
        self.write(lease::end_of_the_dead).await
    }

    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64> {
        let (owner, tenants) = (owner.clone(), tenants.to_vec());
        self.write(move |conn| member::hand_over(conn, &owner, &tenants)).await
    }

    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()> {
        let (node, reason, by) = (node.to_owned(), reason.to_owned(), by.to_owned());
        self.write(move |conn| member::cordon(conn, &node, draining, &reason, &by)).await
    }

    async fn uncordon(&self, node: &str) -> Result<()> {
        let node = node.to_owned();
        self.write(move |conn| member::uncordon(conn, &node)).await
    }

    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
        let (scope, owner) = (scope.clone(), owner.clone());
        self.write(move |conn| lease::acquire(conn, &scope, &owner)).await
    }

    async fn release_scope(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.write(move |conn| lease::release(conn, &lease)).await
    }

    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow> {
        let (scope, reason, by) = (scope.clone(), reason.to_owned(), by.to_owned());
        self.write(move |conn| pause::pause(conn, &scope, &reason, &by)).await
    }

    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow> {
        let scope = scope.clone();
        self.write(move |conn| pause::resume(conn, &scope)).await
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

    async fn begin_build(&self, scope: &Scope, run_id: Uuid, _storage: Storage) -> Result<BuildLease> {
        let scope = scope.clone();
        self.write(move |conn| generation::begin(conn, &scope, run_id)).await
    }

    async fn resume_build(&self, scope: &Scope, run_id: Uuid) -> Result<Option<(BuildLease, Position)>> {
        let scope = scope.clone();
        self.write(move |conn| generation::resume(conn, &scope, run_id)).await
    }

    async fn index_build(&self, _lease: &BuildLease, _columns: &[(usize, usize)]) -> Result<()> {
        // Rows and indexes are written together.
        Ok(())
    }

    async fn finish_build(&self, lease: &BuildLease) -> Result<()> {
        let lease = lease.clone();
        self.write(move |conn| generation::finish(conn, &lease)).await
    }

    async fn flip(&self, lease: &BuildLease) -> Result<Flip> {
        let lease = lease.clone();
        let flip = self.write(move |conn| generation::flip(conn, &lease)).await?;
        if matches!(flip, Flip::Flipped { .. }) {
            crash::point("flip.after_commit");
        }
        Ok(flip)
    }

    async fn abandon_build(&self, scope: &Scope, run_id: Uuid) -> Result<()> {
        let scope = scope.clone();
        self.write(move |conn| generation::abandon(conn, &scope, run_id)).await
    }

    async fn sweep(&self, rows_max: u64) -> Result<Sweep> {
        let swept = self.write(move |conn| generation::sweep(conn, rows_max)).await?;
        crash::point("sweep.after_commit");
        Ok(swept)
    }

    async fn record_failure(&self, failure: &NewFailure) -> Result<Failure> {
        let failure = failure.clone();
        self.write(move |conn| failure::record(conn, &failure)).await
    }

    async fn skip_event(&self, failure_id: i64, reason: &str, by: &str) -> Result<Skip> {
        let (reason, by) = (reason.to_owned(), by.to_owned());
        self.write(move |conn| skip::skip(conn, failure_id, &reason, &by)).await
    }

    async fn revoke_skip(&self, scope: &Scope, log_seq: LogSeq) -> Result<Skip> {
        let scope = scope.clone();
        self.write(move |conn| skip::revoke(conn, &scope, log_seq)).await
    }

    async fn create_run(&self, run: &NewRun) -> Result<Creation> {
        let run = run.clone();
        self.write(move |conn| run::create(conn, &run)).await
    }

    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> Result<Run> {
        let owner = owner.clone();
        self.write(move |conn| run::adopt(conn, run_id, &owner)).await
    }

    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run> {
        let (owner, progress) = (owner.clone(), progress.clone());
        self.write(move |conn| run::advance(conn, run_id, &owner, &progress)).await
    }

    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run> {
        let owner = owner.clone();
        self.write(move |conn| run::finish(conn, run_id, &owner, &outcome)).await
    }

    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()> {
        let (owner, compared) = (owner.clone(), compared.to_vec());
        self.write(move |conn| drift::note(conn, run_id, &owner, &compared)).await
    }

    async fn note_change(&self, change: &NewChange) -> Result<i64> {
        let change = change.clone();
        self.write(move |conn| change::note(conn, &change)).await
    }

    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()> {
        let outcome = outcome.to_owned();
        self.write(move |conn| change::end(conn, change_id, &outcome)).await
    }

    async fn request_cancel(&self, run_id: Uuid) -> Result<Run> {
        self.write(move |conn| run::request_cancel(conn, run_id)).await
    }

    async fn view(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::fresh(self.database.clone())))
    }

    async fn snapshot(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::snapshot(self.database.clone()).await?))
    }
}
