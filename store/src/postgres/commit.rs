//! The commit of a batch: one transaction, a handful of statements whatever its size, the fence last.
//!
//! *Guarantees.* Applied whole and durably, or not at all. The rows' statements are sent without waiting for one
//! another. Each is followed by Sync, and each answer is checked. After an error inside a transaction the server turns
//! COMMIT into ROLLBACK, and reports it in no other way. A row that differs from the batch's prior state stops the
//! batch, with its evidence.

use super::PostgresStore;
use super::ask::Parameter;
use super::errors::{During as _, answers, explain_commit};
use super::group::{self, Commit};
use super::pool::{Connections, Held, session_gone};
use super::rows::{self, Of, Param, Part};
use super::seal;
use super::values::Key;
use crate::batch::Batch;
use crate::sections::Batches;
use crate::since::Since;
use crate::{BatchCommit, BuildLease, Checkpoint, Generation, Lease, Result, Scope, StoreError, crash};
use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, Changes, LogSeq, Table};
use futures_util::SinkExt as _;
use std::pin::pin;
use tokio::task::JoinHandle;

const SQL: &str = include_str!("sql/batch.sql");

/// Digest checkpoints kept per scope.
const CHECKPOINTS_KEPT: i64 = 1_000;

#[async_trait]
impl Batches for PostgresStore {
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()> {
        self.judged(group::commit(&self.connections, lease, Batch::from(batch))).await
    }

    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()> {
        let scope = &lease.scope;
        let held = self.connections.building(lease).await?;
        let client = held.client()?;
        crash::point("build.begin");
        let work = async {
            let rows = Rows {
                scope,
                generation: lease.generation,
                tables: batch.projection.tables(),
                from: batch.from,
                changes: batch.changes,
            };
            write_rows(client, &[rows], rows::is_own(lease.generation)).await?;
            crash::point("build.rows_written");
            if !batch.skipped.is_empty() {
                let what = "mark a generation as deviating";
                let mark = client.prepare_cached(sql!(SQL, "deviate_build")).await.during(what)?;
                let (tenant, token) = (scope.tenant.as_str(), Key::from(lease.epoch.token));
                client
                    .execute(&mark, &[&tenant, &lease.generation.0, &lease.epoch.counter, &token])
                    .await
                    .during(what)?;
            }
            client.prepare_cached(sql!(SQL, "commit_build")).await.during("prepare the fence")
        };
        let expected = (scope.tenant.as_str(), Key::from(lease.epoch.token));
        let expected: [Parameter<'_>; 5] =
            [&expected.0, &lease.generation.0, &lease.epoch.counter, &expected.1, &batch.from.0];
        let holds = sql!(SQL, "build_holds");
        let fence = match work.await {
            Ok(fence) => fence,
            Err(error) => return self.connections.judged(Err(undone(held, error, holds, &expected).await)),
        };
        // Sent one behind the other. When the fence does not hold, the server aborts and turns the COMMIT behind it
        // into a ROLLBACK.
        let (digest, version) = (batch.digest.to_bytes(), batch.projection.version());
        let [tenant, generation, counter, token, from] = expected;
        let params = [tenant, generation, from, &batch.to.0, counter, token, &digest, &version];
        let committing = async {
            crash::point("build.before_commit");
            client.batch_execute("COMMIT").await
        };
        let (fenced, committed) = futures_util::future::join(client.execute(&fence, &params), committing).await;
        if let Err(error) = fenced.during("commit a batch of a rebuild") {
            return self.connections.judged(Err(undone(held, error, holds, &expected).await));
        }
        committed.map_err(|error| explain_commit(&error, "commit a batch of a rebuild"))?;
        crash::point("build.after_commit");
        held.keep();
        Ok(())
    }
}

/// Writes these batches in one transaction, and answers. When one fails, each gets a transaction of its own.
pub(super) async fn write(connections: &Connections, place: usize, commits: Vec<Commit>) {
    let Some(held) = connections.leased(place).await else {
        return commits.into_iter().for_each(gone);
    };
    let number = held.session().map(|session| session.number);
    let (commits, strange): (Vec<_>, Vec<_>) =
        commits.into_iter().partition(|commit| number.as_ref().is_ok_and(|number| *number == commit.lease.session));
    strange.into_iter().for_each(gone);
    if commits.is_empty() {
        return held.keep();
    }
    crash::point("commit.begin");
    let error = match batches(&held, &commits).await {
        Ok(()) => match committed(&held, &commits).await {
            Ok(()) => {
                held.keep();
                return commits.into_iter().for_each(|commit| commit.answer(Ok(())));
            }
            Err(error) => return commits.into_iter().for_each(|commit| commit.answer(Err(error.clone()))),
        },
        Err(error) => error,
    };
    match <[Commit; 1]>::try_from(commits) {
        Ok([commit]) => {
            let Lease { scope, epoch, generation, .. } = &commit.lease;
            let (tenant, token) = (scope.tenant.as_str(), Key::from(epoch.token));
            let expected: [Parameter<'_>; 6] =
                [&tenant, &scope.projection, &commit.batch.from.0, &epoch.counter, &token, &generation.0];
            let error = undone(held, error, sql!(SQL, "scope_holds"), &expected).await;
            commit.answer(Err(error));
        }
        Err(commits) => {
            if !roll_back(held).await {
                return commits.into_iter().for_each(|commit| commit.answer(Err(error.clone())));
            }
            for commit in commits {
                Box::pin(write(connections, place, vec![commit])).await;
            }
        }
    }
}

fn gone(commit: Commit) {
    let error = session_gone(&commit.lease.scope);
    commit.answer(Err(error));
}

async fn committed(held: &Held<'_>, commits: &[Commit]) -> Result<()> {
    point("commit.before_commit", "shared.before_commit", commits.len());
    held.client()?.batch_execute("COMMIT").await.map_err(|error| explain_commit(&error, "commit a batch"))?;
    if commits.iter().any(|commit| commit.batch.growth().is_some()) {
        crash::point("seal.after_commit");
    }
    point("commit.after_commit", "shared.after_commit", commits.len());
    Ok(())
}

/// Passes a crash point, and a second one when several batches share the transaction.
fn point(each: &str, shared: &str, batches: usize) {
    crash::point(each);
    if batches > 1 {
        crash::point(shared);
    }
}

/// Writes everything of these batches, the fences last, and leaves the transaction open.
async fn batches(held: &Held<'_>, commits: &[Commit]) -> Result<()> {
    let client = held.client()?;
    let mut rows: Vec<Rows<'_>> = commits.iter().map(Rows::of).collect();
    // In the order of the primary keys.
    rows.sort_unstable_by_key(|rows| (rows.scope.tenant.as_str(), rows.generation));
    write_rows(client, &rows, false).await?;
    let sealed = seal::grow(client, commits).await?;
    if sealed {
        crash::point("seal.rows_written");
    }
    point("commit.rows_written", "shared.rows_written", commits.len());
    for (at, Commit { lease, batch, .. }) in commits.iter().enumerate() {
        if at > 0 {
            crash::point("shared.between_scopes");
        }
        if batch.checkpoint {
            add_checkpoint(client, lease, batch).await?;
        }
        if batch.deviates {
            let what = "mark a scope as deviating";
            let mark = client.prepare_cached(sql!(SQL, "deviate_scope")).await.during(what)?;
            let (scope, token) = (&lease.scope, Key::from(lease.epoch.token));
            client
                .execute(&mark, &[&scope.tenant.as_str(), &scope.projection, &lease.epoch.counter, &token])
                .await
                .during(what)?;
        }
    }
    if sealed {
        crash::point("seal.before_fence");
    }
    crash::point("commit.before_fence");
    fences(client, commits).await
}

/// Moves the cursors, each under its own fence. One that does not hold aborts the transaction.
async fn fences(client: &ClientWrapper, commits: &[Commit]) -> Result<()> {
    fn list<'a, T: 'a>(commits: &'a [Commit], each: impl Fn(&'a Lease, &'a Batch) -> T) -> Vec<T> {
        commits.iter().map(|commit| each(&commit.lease, &commit.batch)).collect()
    }
    let fence = client.prepare_cached(sql!(SQL, "commit_scope")).await.during("prepare the fence")?;
    let tenants = list(commits, |lease, _| lease.scope.tenant.as_str());
    let projections = list(commits, |lease, _| lease.scope.projection);
    let (from, to) = (list(commits, |_, batch| batch.from.0), list(commits, |_, batch| batch.to.0));
    let epochs = list(commits, |lease, _| lease.epoch.counter);
    let tokens = list(commits, |lease, _| Key::from(lease.epoch.token));
    let generations = list(commits, |lease, _| lease.generation.0);
    let digests = list(commits, |_, batch| batch.digest.to_bytes());
    let versions = list(commits, |_, batch| batch.version);
    let of: [Parameter<'_>; 9] =
        [&tenants, &projections, &from, &to, &epochs, &tokens, &generations, &digests, &versions];
    let fenced = client.execute(&fence, &of).await.during("commit a batch")?;
    match fenced == commits.len() as u64 {
        true => Ok(()),
        false => Err(StoreError::internal(format!("{fenced} of {} fences were asked", commits.len()))),
    }
}

/// Rolls back and explains the failure of a batch that is alone in its transaction. A row that already existed, or did
/// not match, or a tree with another head, may only mean that another writer was here. The row of the scope or build
/// then shows it, and the batch is fenced. Otherwise the error itself is returned.
async fn undone(held: Held<'_>, error: StoreError, holds: &str, expected: &[Parameter<'_>]) -> StoreError {
    let suspicious = matches!(error.category, Category::Storage | Category::Conflict) && !error.transient;
    let Ok(client) = held.client() else { return error };
    if client.batch_execute("ROLLBACK").await.is_err() {
        return error;
    }
    let moved = suspicious && matches!(client.query_opt(holds, expected).await, Ok(None));
    held.keep();
    if moved {
        return StoreError::fenced(format!(
            "another writer has taken over or the cursor moved; nothing was changed ({})",
            error.message
        ));
    }
    error
}

/// Rolls back and keeps the session. False when even that fails: the session is closed, which rolls back too.
pub(super) async fn roll_back(held: Held<'_>) -> bool {
    let rolled_back = match held.client() {
        Ok(client) => client.batch_execute("ROLLBACK").await.is_ok(),
        Err(_) => false,
    };
    if rolled_back {
        held.keep();
    }
    rolled_back
}

/// One statement of a batch, ready to be sent.
struct Statement<'a> {
    prepared: tokio_postgres::Statement,
    params: Vec<Param<'a>>,
    table: &'static str,
    verb: &'static str,
    rows: usize,
}

/// Rows of one batch.
struct Rows<'a> {
    scope: &'a Scope,
    generation: Generation,
    tables: &'static [Table],
    from: LogSeq,
    changes: &'a Changes,
}

impl<'a> Rows<'a> {
    fn of(commit: &'a Commit) -> Rows<'a> {
        let Commit { lease, batch, .. } = commit;
        let Batch { tables, from, changes, .. } = batch;
        Rows { scope: &lease.scope, generation: lease.generation, tables, from: *from, changes }
    }
}

/// Changes of a partition, of one batch or of several.
struct Target<'a> {
    table: &'static Table,
    leaf: String,
    parts: Vec<Part<'a>>,
}

/// Sorts the changes of these batches by partition.
fn targets<'a>(batches: &[Rows<'a>]) -> Vec<Target<'a>> {
    let mut targets: Vec<Target<'a>> = Vec::new();
    for Rows { scope, generation, tables, changes: all, .. } in batches {
        let changed = tables.iter().zip(all.tables.iter()).filter(|(_, changes)| !changes.is_empty());
        for (table, changes) in changed {
            let leaf = rows::leaf(table.name, *generation);
            let since = Since::of(tables, table, all);
            let part = Part { tenant: scope.tenant.as_str(), generation: *generation, changes, since };
            match targets.iter_mut().find(|target| target.leaf == leaf) {
                Some(target) => target.parts.push(part),
                None => targets.push(Target { table, leaf, parts: vec![part] }),
            }
        }
    }
    targets
}

/// Opens the transaction and writes the rows.
async fn write_rows(client: &ClientWrapper, batches: &[Rows<'_>], copy: bool) -> Result<()> {
    let targets = targets(batches);
    let copies: Vec<Copying> = if copy { batches.iter().flat_map(encode).collect() } else { Vec::new() };
    let mut statements = Vec::new();
    for target in &targets {
        add_statements(client, target, copy, &mut statements).await?;
    }
    let sent = async {
        // First in the queue of the connection, so that the other statements run inside it.
        let begin = pin!(client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"));
        let counts = answers(statements.iter().map(|statement| {
            let params = rows::refs(&statement.params);
            async move { client.execute_raw(&statement.prepared, params).await.during(statement.table) }
        }));
        let (begun, counts) = futures_util::future::join(begin, counts).await;
        begun.during("begin a batch")?;
        counts
    };
    for (statement, count) in statements.iter().zip(sent.await?) {
        if count != statement.rows as u64 {
            let of = match batches {
                [Rows { scope, generation, from, .. }] => {
                    format!("{scope}, generation {generation}, table {}, batch after log_seq {from}", statement.table)
                }
                _ => format!("{} batches, table {}", batches.len(), statement.table),
            };
            return Err(StoreError::new(
                Category::Storage,
                format!(
                    "corruption: {of}: {count} of {} rows match the rows that it was computed from; nothing was {}",
                    statement.rows, statement.verb
                ),
            ));
        }
    }
    for copy in copies {
        copy_in(client, copy).await?;
    }
    Ok(())
}

/// Rows of a table that are being encoded for COPY.
struct Copying {
    table: &'static Table,
    leaf: String,
    rows: u64,
    chunks: JoinHandle<Vec<Bytes>>,
}

/// Encodes a batch's inserts, each table as its own task. The lanes of a job thus do not wait for one another's hashing
/// and encoding.
fn encode(batch: &Rows<'_>) -> Vec<Copying> {
    let Rows { scope, generation, tables, changes, .. } = *batch;
    let inserted = |at: usize| changes.tables.get(at).is_some_and(|changes| !changes.inserts.is_empty());
    let encode = |(at, table): (usize, &'static Table)| {
        let (changes, tenant) = (changes.clone(), scope.tenant.clone());
        let rows = changes.tables[at].inserts.len() as u64;
        let chunks = tokio::spawn(async move {
            let since = Since::of(tables, table, &changes);
            let part = [Part { tenant: tenant.as_str(), generation, changes: &changes.tables[at], since }];
            rows::copy_data(table, &rows::items(table, &part, |changes| &changes.inserts, |row| row))
        });
        Copying { table, leaf: rows::leaf(table.name, generation), rows, chunks }
    };
    tables.iter().enumerate().filter(|(at, _)| inserted(*at)).map(encode).collect()
}

async fn add_statements<'a>(
    client: &ClientWrapper,
    target: &'a Target<'a>,
    copy: bool,
    statements: &mut Vec<Statement<'a>>,
) -> Result<()> {
    let Target { table, leaf, parts } = target;
    let of = if parts.len() == 1 { Of::One } else { Of::Several };
    let mut add = async |sql: String, params: Vec<Param<'a>>, verb: &'static str, rows: usize| -> Result<()> {
        let prepared = client.prepare_cached(&sql).await.during(table.name)?;
        statements.push(Statement { prepared, params, table: table.name, verb, rows });
        Ok(())
    };
    let deleted = rows::items(table, parts, |changes| &changes.deletes, |row| row);
    if !deleted.is_empty() {
        let params = rows::delete_params(table, &deleted, of);
        add(rows::delete_statement(table, leaf, of), params, "deleted", deleted.len()).await?;
    }
    let updated = rows::items(table, parts, |changes| &changes.updates, |(before, _)| before);
    if !updated.is_empty() {
        let params = rows::update_params(table, &updated, of);
        add(rows::update_statement(table, leaf, of), params, "updated", updated.len()).await?;
    }
    if !copy {
        let inserted = rows::items(table, parts, |changes| &changes.inserts, |row| row);
        if !inserted.is_empty() {
            let params = rows::insert_params(table, &inserted, of);
            add(rows::insert_statement(table, leaf, of), params, "inserted", inserted.len()).await?;
        }
    }
    Ok(())
}

async fn copy_in(client: &ClientWrapper, copying: Copying) -> Result<()> {
    let Copying { table, leaf, rows, chunks } = copying;
    let prepared = client.prepare_cached(&rows::copy_statement(table, &leaf)).await.during(table.name)?;
    let sink = client.copy_in(&prepared).await.during(table.name)?;
    let mut sink = pin!(sink);
    let chunks = chunks.await.map_err(|error| StoreError::internal(format!("{}: {error}", table.name)))?;
    for chunk in chunks {
        sink.feed(chunk).await.during(table.name)?;
    }
    let count = sink.finish().await.during(table.name)?;
    if count == rows {
        return Ok(());
    }
    Err(StoreError::internal(format!("{}: {count} of {rows} rows were copied", table.name)))
}

async fn add_checkpoint(client: &ClientWrapper, lease: &Lease, batch: &Batch) -> Result<()> {
    let what = "add a digest checkpoint";
    let latest = client.prepare_cached(sql!(SQL, "checkpoint_last")).await.during(what)?;
    let add = client.prepare_cached(sql!(SQL, "checkpoint_add")).await.during(what)?;
    let trim = client.prepare_cached(sql!(SQL, "checkpoint_trim")).await.during(what)?;
    let Lease { scope, generation, .. } = lease;
    let (tenant, projection) = (scope.tenant.as_str(), scope.projection);
    let row = client.query_opt(&latest, &[&tenant, &projection]).await.during(what)?;
    let previous: String = row.map(|row| row.get(0)).unwrap_or_default();
    let (digest, version) = (batch.digest.to_text(), batch.version);
    let hash = Checkpoint::chain(&previous, scope, batch.to, &digest, version);
    client
        .execute(&add, &[&tenant, &projection, &generation.0, &batch.to.0, &version, &digest, &previous, &hash])
        .await
        .during(what)?;
    client.execute(&trim, &[&tenant, &projection, &CHECKPOINTS_KEPT]).await.during(what)?;
    Ok(())
}
