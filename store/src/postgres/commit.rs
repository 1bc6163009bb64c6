//! The commit of a batch: one transaction, a handful of statements whatever its size, the fence last.
//!
//! *Guarantees.* Applied whole and durably, or not at all. The rows' statements are sent without waiting for one
//! another. Each is followed by Sync, and each answer is checked. After an error inside a transaction the server turns
//! COMMIT into ROLLBACK, and reports it in no other way. A row that differs from the batch's prior state stops the
//! batch, with its evidence.

use super::PostgresStore;
use super::ask::Parameter;
use super::errors::{During as _, answers, explain_commit};
use super::pool::Held;
use super::rows::{self, Param};
use super::values::Key;
use crate::sections::Batches;
use crate::since::Since;
use crate::{BatchCommit, BuildLease, Checkpoint, Generation, Lease, Result, Scope, StoreError, crash};
use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, Row, Table};
use futures_util::SinkExt as _;
use std::pin::pin;
use tokio::task::JoinHandle;

const SQL: &str = include_str!("sql/batch.sql");

/// Digest checkpoints kept per scope.
const CHECKPOINTS_KEPT: i64 = 1_000;

#[async_trait]
impl Batches for PostgresStore {
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> Result<()> {
        let scope = &lease.scope;
        let held = self.connections.leased(scope, lease.session, false).await?;
        let client = held.client()?;
        crash::point("commit.begin");
        let work = async {
            write_rows(client, scope, lease.generation, batch, false).await?;
            crash::point("commit.rows_written");
            if batch.checkpoint {
                add_checkpoint(client, scope, lease.generation, batch).await?;
            }
            if !batch.skipped.is_empty() {
                let what = "mark a scope as deviating";
                let mark = client.prepare_cached(sql!(SQL, "deviate_scope")).await.during(what)?;
                let (tenant, token) = (scope.tenant.as_str(), Key::from(lease.epoch.token));
                client
                    .execute(&mark, &[&tenant, &scope.projection, &lease.epoch.counter, &token])
                    .await
                    .during(what)?;
            }
            crash::point("commit.before_fence");
            let fence = client.prepare_cached(sql!(SQL, "commit_scope")).await.during("prepare the fence")?;
            client
                .execute(
                    &fence,
                    &[
                        &scope.tenant.as_str(),
                        &scope.projection,
                        &batch.from.0,
                        &batch.to.0,
                        &lease.epoch.counter,
                        &Key::from(lease.epoch.token),
                        &lease.generation.0,
                        &batch.digest.to_bytes(),
                        &batch.projection.version(),
                    ],
                )
                .await
                .during("commit a batch")?;
            Ok(())
        };
        if let Err(error) = work.await {
            let (tenant, token) = (scope.tenant.as_str(), Key::from(lease.epoch.token));
            let expected: [Parameter<'_>; 6] =
                [&tenant, &scope.projection, &batch.from.0, &lease.epoch.counter, &token, &lease.generation.0];
            return self.connections.judged(Err(undone(held, error, sql!(SQL, "scope_holds"), &expected).await));
        }
        crash::point("commit.before_commit");
        client.batch_execute("COMMIT").await.map_err(|error| explain_commit(&error, "commit a batch"))?;
        crash::point("commit.after_commit");
        held.keep();
        Ok(())
    }

    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> Result<()> {
        let scope = &lease.scope;
        let held = self.connections.leased(scope, lease.session, true).await?;
        let client = held.client()?;
        crash::point("build.begin");
        let work = async {
            write_rows(client, scope, lease.generation, batch, rows::is_own(lease.generation)).await?;
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

/// Rolls back and explains the failure of the batch. A row that already existed, or did not match, may only mean that
/// another writer was here. The row of the scope or build then shows it, and the batch is fenced. Otherwise the error
/// itself is returned.
async fn undone(held: Held<'_>, error: StoreError, holds: &str, expected: &[Parameter<'_>]) -> StoreError {
    let suspicious = error.category == Category::Storage && !error.transient;
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

/// Rolls back and keeps the session. When even that fails, the session is closed, which rolls back too.
pub(super) async fn roll_back(held: Held<'_>) {
    let rolled_back = match held.client() {
        Ok(client) => client.batch_execute("ROLLBACK").await.is_ok(),
        Err(_) => false,
    };
    if rolled_back {
        held.keep();
    }
}

/// One statement of a batch, ready to be sent.
struct Statement<'a> {
    prepared: tokio_postgres::Statement,
    params: Vec<Param<'a>>,
    table: &'static str,
    verb: &'static str,
    rows: usize,
}

/// Opens the transaction and writes the rows.
async fn write_rows(
    client: &ClientWrapper,
    scope: &Scope,
    generation: Generation,
    batch: &BatchCommit<'_>,
    copy: bool,
) -> Result<()> {
    let mut statements = Vec::new();
    let tables = batch.projection.tables();
    let copies = if copy { encode(scope, generation, batch) } else { Vec::new() };
    for at in 0..tables.len() {
        add_statements(client, scope, generation, batch, at, copy, &mut statements).await?;
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
            return Err(StoreError::new(
                Category::Storage,
                format!(
                    "corruption: {scope}, generation {generation}, table {}: {} of {} rows match the rows that the batch after log_seq {} was computed from; nothing was {}",
                    statement.table, count, statement.rows, batch.from, statement.verb
                ),
            ));
        }
    }
    for copy in copies {
        copy_in(client, generation, copy).await?;
    }
    Ok(())
}

/// Rows of a table that are being encoded for COPY.
struct Copying {
    table: &'static Table,
    rows: u64,
    chunks: JoinHandle<Vec<Bytes>>,
}

/// Encodes a batch's inserts, each table as its own task. The lanes of a job thus do not wait for one another's hashing
/// and encoding.
fn encode(scope: &Scope, generation: Generation, batch: &BatchCommit<'_>) -> Vec<Copying> {
    let inserted = |at: usize| batch.changes.tables.get(at).is_some_and(|changes| !changes.inserts.is_empty());
    let tables = batch.projection.tables();
    let encode = |(at, table): (usize, &'static Table)| {
        let (changes, tenant) = (batch.changes.clone(), scope.tenant.clone());
        let rows = changes.tables[at].inserts.len() as u64;
        let chunks = tokio::spawn(async move {
            let sorted = rows::sorted(table, &changes.tables[at].inserts, |row: &Row| row);
            let since = Since::of(tables, table, &changes);
            rows::copy_data(table, tenant.as_str(), generation, &sorted, &since)
        });
        Copying { table, rows, chunks }
    };
    tables.iter().enumerate().filter(|(at, _)| inserted(*at)).map(encode).collect()
}

async fn add_statements<'a>(
    client: &ClientWrapper,
    scope: &'a Scope,
    generation: Generation,
    batch: &'a BatchCommit<'_>,
    at: usize,
    copy: bool,
    statements: &mut Vec<Statement<'a>>,
) -> Result<()> {
    let tables = batch.projection.tables();
    let (table, Some(changes)) = (&tables[at], batch.changes.tables.get(at)) else { return Ok(()) };
    let leaf = rows::leaf(table.name, generation);
    let scoped = || -> Vec<Param<'a>> { vec![Box::new(scope.tenant.as_str()), Box::new(generation.0)] };
    let mut add = async |sql: String, params: Vec<Param<'a>>, verb: &'static str, rows: usize| -> Result<()> {
        let prepared = client.prepare_cached(&sql).await.during(table.name)?;
        statements.push(Statement { prepared, params, table: table.name, verb, rows });
        Ok(())
    };
    if !changes.deletes.is_empty() {
        let mut params = scoped();
        rows::delete_params(table, &rows::sorted(table, &changes.deletes, |row: &Row| row), &mut params);
        add(rows::delete_statement(table, &leaf), params, "deleted", changes.deletes.len()).await?;
    }
    if !changes.updates.is_empty() {
        let mut params = scoped();
        rows::update_params(table, &rows::sorted(table, &changes.updates, |(before, _)| before), &mut params);
        add(rows::update_statement(table, &leaf), params, "updated", changes.updates.len()).await?;
    }
    if !changes.inserts.is_empty() && !copy {
        let mut params = scoped();
        let since = Since::of(tables, table, batch.changes);
        rows::insert_params(table, &rows::sorted(table, &changes.inserts, |row: &Row| row), &since, &mut params);
        add(rows::insert_statement(table, &leaf), params, "inserted", changes.inserts.len()).await?;
    }
    Ok(())
}

async fn copy_in(client: &ClientWrapper, generation: Generation, copying: Copying) -> Result<()> {
    let Copying { table, rows, chunks } = copying;
    let statement = rows::copy_statement(table, &rows::leaf(table.name, generation));
    let prepared = client.prepare_cached(&statement).await.during(table.name)?;
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

async fn add_checkpoint(
    client: &ClientWrapper,
    scope: &Scope,
    generation: Generation,
    batch: &BatchCommit<'_>,
) -> Result<()> {
    let what = "add a digest checkpoint";
    let latest = client.prepare_cached(sql!(SQL, "checkpoint_last")).await.during(what)?;
    let add = client.prepare_cached(sql!(SQL, "checkpoint_add")).await.during(what)?;
    let trim = client.prepare_cached(sql!(SQL, "checkpoint_trim")).await.during(what)?;
    let (tenant, projection) = (scope.tenant.as_str(), scope.projection);
    let row = client.query_opt(&latest, &[&tenant, &projection]).await.during(what)?;
    let previous: String = row.map(|row| row.get(0)).unwrap_or_default();
    let (digest, version) = (batch.digest.to_text(), batch.projection.version());
    let hash = Checkpoint::chain(&previous, scope, batch.to, &digest, version);
    client
        .execute(&add, &[&tenant, &projection, &generation.0, &batch.to.0, &version, &digest, &previous, &hash])
        .await
        .during(what)?;
    client.execute(&trim, &[&tenant, &projection, &CHECKPOINTS_KEPT]).await.during(what)?;
    Ok(())
}
