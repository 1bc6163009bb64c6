//! The rows of batches on their way into a transaction: encoded, if possible before their turn comes, and sent.
//!
//! *Guarantees.* What was encoded ahead is used for the very changes that it was made from, and for no others. The
//! statements are sent without waiting for one another, and each answer is checked. A row that differs from the batch's
//! prior state stops the batch, with its evidence.

use super::errors::{During as _, answers};
use super::group::Commit;
use super::rows::{self, Of, Part};
use super::values::Binary;
use crate::since::Since;
use crate::{Encoded, Generation, Result, Scope, StoreError};
use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, Changes, LogSeq, Table};
use futures_util::SinkExt as _;
use futures_util::future::try_join_all;
use std::pin::pin;
use std::sync::Arc;

/// Fewest changed rows of a batch that is encoded by a task per table. The caller encodes a smaller one itself.
const TASK_ROWS: usize = 256;
/// Fewest inserted rows of a table that go by COPY. It costs the server less than INSERT, and one more round trip.
const COPY_ROWS: usize = 1_000;

/// Rows of one batch. A copy shares them.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) scope: Scope,
    pub(super) generation: Generation,
    /// True for a generation under construction that owns its tables: rows go by COPY, however few they are.
    pub(super) filling: bool,
    pub(super) tables: &'static [Table],
    pub(super) changes: Changes,
}

impl Rows {
    /// Takes the rows of a live batch.
    pub(super) fn of(Commit { lease, batch, .. }: &Commit) -> Rows {
        let (tables, changes) = (batch.tables, batch.changes.clone());
        Rows { scope: lease.scope.clone(), generation: lease.generation, filling: false, tables, changes }
    }

    /// True when both are the same changes of the same generation.
    fn same(&self, other: &Rows) -> bool {
        (&self.scope, self.generation, self.filling) == (&other.scope, other.generation, other.filling)
            && Arc::ptr_eq(&self.changes.tables, &other.changes.tables)
    }

    fn part(&self, table: usize) -> Part<'_> {
        Part {
            tenant: self.scope.tenant.as_str(),
            generation: self.generation,
            changes: &self.changes.tables[table],
            since: Since::of(self.tables, &self.tables[table], &self.changes),
        }
    }
}

/// A partition that batches change.
struct Target {
    table: &'static Table,
    leaf: String,
    filling: bool,
    /// Index of each such batch, and the table's index in it.
    parts: Vec<(usize, usize)>,
}

/// Sorts the changes of these batches by partition.
fn targets(batches: &[Rows]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for (batch, Rows { generation, filling, tables, changes, .. }) in batches.iter().enumerate() {
        let changed = tables.iter().zip(changes.tables.iter()).enumerate();
        for (at, (table, _)) in changed.filter(|(_, (_, changes))| !changes.is_empty()) {
            let leaf = rows::leaf(table.name, *generation);
            match targets.iter_mut().find(|target| target.leaf == leaf) {
                Some(target) => target.parts.push((batch, at)),
                None => targets.push(Target { table, leaf, filling: *filling, parts: vec![(batch, at)] }),
            }
        }
    }
    targets
}

/// One statement, with its parameters.
struct Statement {
    sql: String,
    params: Vec<Binary>,
    table: &'static str,
    verb: &'static str,
    rows: usize,
}

/// Rows of a table in COPY's format.
struct Copying {
    sql: String,
    chunks: Vec<Bytes>,
    table: &'static str,
    rows: usize,
}

/// Changes of a partition, as they are sent.
struct Written {
    statements: Vec<Statement>,
    copy: Option<Copying>,
}

impl Target {
    fn written(&self, batches: &[Rows]) -> Written {
        let Target { table, leaf, filling, parts } = self;
        let parts: Vec<Part<'_>> = parts.iter().map(|(batch, at)| batches[*batch].part(*at)).collect();
        let of = if parts.len() == 1 { Of::One } else { Of::Several };
        let mut written = Written { statements: Vec::new(), copy: None };
        let mut add = |sql: String, params: Vec<Binary>, verb: &'static str, rows: usize| {
            written.statements.push(Statement { sql, params, table: table.name, verb, rows });
        };
        let deleted = rows::items(table, &parts, |changes| &changes.deletes, |row| row);
        if !deleted.is_empty() {
            let params = rows::delete_params(table, &deleted, of);
            add(rows::delete_statement(table, leaf, of), params, "deleted", deleted.len());
        }
        let updated = rows::items(table, &parts, |changes| &changes.updates, |(before, _)| before);
        if !updated.is_empty() {
            let params = rows::update_params(table, &updated, of);
            add(rows::update_statement(table, leaf, of), params, "updated", updated.len());
        }
        let inserted = rows::items(table, &parts, |changes| &changes.inserts, |row| row);
        if !inserted.is_empty() && (*filling || inserted.len() >= COPY_ROWS) {
            let (sql, chunks) = (rows::copy_statement(table, leaf), rows::copy_data(table, &inserted));
            written.copy = Some(Copying { sql, chunks, table: table.name, rows: inserted.len() });
        } else if !inserted.is_empty() {
            let params = rows::insert_params(table, &inserted, of);
            add(rows::insert_statement(table, leaf, of), params, "inserted", inserted.len());
        }
        written
    }
}

/// Encodes the rows of these batches. A large batch is alone, and each of its tables is a task of its own.
async fn written(batches: &[Rows]) -> Result<Vec<Written>> {
    let targets = targets(batches);
    let [rows] = batches else { return Ok(targets.iter().map(|target| target.written(batches)).collect()) };
    if rows.changes.len() < TASK_ROWS {
        return Ok(targets.iter().map(|target| target.written(batches)).collect());
    }
    let tasks = targets.into_iter().map(|target| {
        let (name, rows) = (target.table.name, [rows.clone()]);
        let task = tokio::spawn(async move { target.written(&rows) });
        async move { task.await.map_err(|error| StoreError::internal(format!("{name}: {error}"))) }
    });
    try_join_all(tasks).await
}

struct Ahead {
    rows: Rows,
    written: Vec<Written>,
}

/// Encodes these rows before their turn. Nothing when that fails: it fails again in its turn.
pub(super) async fn ahead(rows: Rows) -> Encoded {
    match written(std::slice::from_ref(&rows)).await {
        Ok(written) => Encoded(Some(Arc::new(Ahead { rows, written }))),
        Err(_) => Encoded::default(),
    }
}

/// Opens the transaction and writes the rows of these batches. `from` is the position before a batch that is alone,
/// `encoded` what was encoded of it.
pub(super) async fn write(
    client: &ClientWrapper,
    batches: &[Rows],
    from: LogSeq,
    encoded: Option<&Encoded>,
) -> Result<()> {
    let ahead = encoded.and_then(|encoded| encoded.0.as_ref()?.downcast_ref::<Ahead>());
    let now;
    let written = match (ahead, batches) {
        (Some(Ahead { rows: of, written }), [rows]) if of.same(rows) => written,
        _ => {
            now = written(batches).await?;
            &now
        }
    };
    let mut statements = Vec::new();
    for statement in written.iter().flat_map(|written| &written.statements) {
        statements.push((client.prepare_cached(&statement.sql).await.during(statement.table)?, statement));
    }
    let sent = async {
        // First in the queue of the connection, so that the other statements run inside it.
        let begin = pin!(client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"));
        let counts = answers(statements.iter().map(|(prepared, statement)| async move {
            client.execute_raw(prepared, &statement.params).await.during(statement.table)
        }));
        let (begun, counts) = futures_util::future::join(begin, counts).await;
        begun.during("begin a batch")?;
        counts
    };
    for ((_, statement), count) in statements.iter().zip(sent.await?) {
        let Statement { table, verb, rows, .. } = statement;
        if count != *rows as u64 {
            let of = match batches {
                [Rows { scope, generation, .. }] => {
                    format!("{scope}, generation {generation}, table {table}, batch after log_seq {from}")
                }
                _ => format!("{} batches, table {table}", batches.len()),
            };
            return Err(StoreError::new(
                Category::Storage,
                format!(
                    "corruption: {of}: {count} of {rows} rows match the rows that it was computed from; nothing was {verb}"
                ),
            ));
        }
    }
    for copying in written.iter().filter_map(|written| written.copy.as_ref()) {
        copy_in(client, copying).await?;
    }
    Ok(())
}

async fn copy_in(client: &ClientWrapper, Copying { sql, chunks, table, rows }: &Copying) -> Result<()> {
    let prepared = client.prepare_cached(sql).await.during(table)?;
    let sink = client.copy_in(&prepared).await.during(table)?;
    let mut sink = pin!(sink);
    for chunk in chunks {
        sink.feed(chunk.clone()).await.during(table)?;
    }
    let count = sink.finish().await.during(table)?;
    if count == *rows as u64 {
        return Ok(());
    }
    Err(StoreError::internal(format!("{table}: {count} of {rows} rows were copied")))
}
