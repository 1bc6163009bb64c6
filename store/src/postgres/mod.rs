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
mod change;
mod commit;
mod drift;
mod errors;
mod failure;
mod generation;
mod high_water;
mod lease;
mod member;
mod migrate;
mod outline;
mod partition;
mod pause;
mod pool;
mod prior;
mod query;
mod read;
mod rows;
mod run;
mod scope;
mod skip;
mod sweep;
mod tls;
mod turn;
mod values;
mod view;
mod wake;

use crate::{
    Acquisition, AppendMode, Backend, BatchCommit, BuildLease, Compared, Creation, Failure, Flip, HighWaterSample,
    Lease, LogEnd, MemberFacts, NewChange, NewFailure, NewRun, OpenWriter, Owner, Position, ReadView, Result, Run,
    RunOutcome, RunProgress, SchemaStatus, Scope, ScopeRow, Skip, Storage, Store, StoreOptions, Sweep, Verdict, Wakes,
};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, LogSeq, TenantId};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

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
    /// Acts on a call's finding about its session. A session that leads to a standby or to a read-only database is not
    /// used again. The sessions that were made before it are not used again either.
    async fn judged<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        call.await.inspect_err(|error| {
            if error.unfit {
                self.connections.retire();
            }
        })
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

    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()> {
        self.judged(lease::heartbeat(self, owner, ttl)).await
    }

    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(member::join(self, owner, ttl, facts)).await
    }

    async fn leave(&self, owner: &Owner) -> Result<()> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(lease::leave(self, owner)).await
    }

    async fn bury(&self, owner: &Owner) -> Result<()> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(lease::bury(self, owner)).await
    }

    async fn forget(&self, node: &str) -> Result<bool> {
        self.judged(member::forget(self, node)).await
    }

    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>> {
        lease::end_of_the_dead(self).await
    }

    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(member::hand_over(self, owner, tenants)).await
    }

    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()> {
        self.judged(member::cordon(self, node, draining, reason, by)).await
    }

    async fn uncordon(&self, node: &str) -> Result<()> {
        self.judged(member::uncordon(self, node)).await
    }

    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
        self.judged(lease::acquire(self, scope, owner)).await
    }

    async fn release_scope(&self, lease: &Lease) -> Result<()> {
        let _overdue = self.connections.overdue(pool::READ_STATEMENTS);
        self.judged(lease::release(self, lease)).await
    }

    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow> {
        self.judged(pause::pause(self, scope, reason, by)).await
    }

    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow> {
        self.judged(pause::resume(self, scope)).await
    }

    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()> {
        self.judged(commit::commit(self, lease, batch)).await
    }

    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()> {
        self.judged(commit::commit_build(self, lease, batch)).await
    }

    async fn begin_build(&self, scope: &Scope, run_id: Uuid, storage: Storage) -> Result<BuildLease> {
        self.judged(generation::begin(self, scope, run_id, storage)).await
    }

    async fn resume_build(&self, scope: &Scope, run_id: Uuid) -> Result<Option<(BuildLease, Position)>> {
        self.judged(generation::resume(self, scope, run_id)).await
    }

    async fn index_build(&self, lease: &BuildLease, columns: &[(usize, usize)]) -> Result<()> {
        self.judged(partition::index(self, lease, generation::projection_of(&lease.scope)?, columns)).await
    }

    async fn finish_build(&self, lease: &BuildLease) -> Result<()> {
        self.judged(generation::finish(self, lease)).await
    }

    async fn flip(&self, lease: &BuildLease) -> Result<Flip> {
        self.judged(generation::flip(self, lease)).await
    }

    async fn abandon_build(&self, scope: &Scope, run_id: Uuid) -> Result<()> {
        self.judged(generation::abandon(self, scope, run_id)).await
    }

    async fn sweep(&self, rows_max: u64) -> Result<Sweep> {
        self.judged(sweep::sweep(self, rows_max)).await
    }

    async fn record_failure(&self, failure: &NewFailure) -> Result<Failure> {
        self.judged(failure::record(self, failure)).await
    }

    async fn skip_event(&self, failure_id: i64, reason: &str, by: &str) -> Result<Skip> {
        self.judged(skip::skip(self, failure_id, reason, by)).await
    }

    async fn revoke_skip(&self, scope: &Scope, log_seq: LogSeq) -> Result<Skip> {
        self.judged(skip::revoke(self, scope, log_seq)).await
    }

    async fn create_run(&self, run: &NewRun) -> Result<Creation> {
        self.judged(run::create(self, run)).await
    }

    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> Result<Run> {
        self.judged(run::adopt(self, run_id, owner)).await
    }

    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run> {
        self.judged(run::advance(self, run_id, owner, progress)).await
    }

    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run> {
        self.judged(run::finish(self, run_id, owner, outcome)).await
    }

    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()> {
        drift::note(self, run_id, owner, compared).await
    }

    async fn note_change(&self, change: &NewChange) -> Result<i64> {
        self.judged(change::note(self, change)).await
    }

    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()> {
        self.judged(change::end(self, change_id, outcome)).await
    }

    async fn request_cancel(&self, run_id: Uuid) -> Result<Run> {
        self.judged(run::request_cancel(self, run_id)).await
    }

    async fn view(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::of_pool(self.connections.clone())))
    }

    async fn snapshot(&self) -> Result<Box<dyn ReadView>> {
        Ok(Box::new(view::View::of_snapshot(self.connections.clone()).await?))
    }
}
