//! Committing a batch: rows, checkpoint, resolved failures, and last of all the row that fences it.
//!
//! One transaction, which takes the writer's lock before any read. The fence is checked first, so that a stale writer
//! gets that error, and not one about existing rows. The fence decides last, where the cursor moves.

use super::SqliteStore;
use super::ask::Ask as _;
use super::errors::Result;
use super::failure::resolve_upto;
use super::queue::Size;
use super::rows::{
    bind_columns, bind_hashes, bind_key, bind_scope, bind_since, corruption, delete_sql, insert_sql, update_sql,
};
use super::seal;
use crate::batch::Batch;
use crate::sections::Batches;
use crate::since::Since;
use crate::{BatchCommit, BuildLease, Checkpoint, Generation, Lease, StoreError, crash};
use async_trait::async_trait;
use decisiongraph_projections::{Identity, Row, Table, TableChanges, TenantId};
use rusqlite::{Connection, params};
use uuid::Uuid;

const SQL: &str = include_str!("sql/batch.sql");

/// Most rows (and sealed events) of a live batch that does not give way to others.
const SHORT_ROWS_MAX: usize = 1_000;
/// Checkpoints that a scope keeps.
const CHECKPOINTS_MAX: i64 = 1_000;

#[async_trait]
impl Batches for SqliteStore {
    async fn commit(&self, lease: &Lease, batch: &BatchCommit<'_>) -> crate::Result<()> {
        let (lease, batch) = (lease.clone(), Batch::from(batch));
        let size = if batch.rows() > SHORT_ROWS_MAX { Size::Bulk } else { Size::Short };
        let sealed = batch.growth().is_some();
        self.database.write(size, move |conn| commit(conn, &lease, &batch)).await?;
        if sealed {
            crash::point("seal.after_commit");
        }
        crash::point("commit.after_commit");
        Ok(())
    }

    async fn commit_build(&self, lease: &BuildLease, batch: &BatchCommit<'_>) -> crate::Result<()> {
        let (lease, batch) = (lease.clone(), Batch::from(batch));
        self.write_bulk(move |conn| commit_build(conn, &lease, &batch)).await?;
        crash::point("build.after_commit");
        Ok(())
    }

    fn has_delayed(&self) -> bool {
        self.database.has_delayed()
    }
}

/// Commits to the live generation, inside a writing transaction.
fn commit(conn: &Connection, lease: &Lease, batch: &Batch) -> Result<()> {
    crash::point("commit.begin");
    check_order(batch)?;
    check_scope(conn, lease, batch)?;
    write_rows(conn, &lease.scope.tenant, lease.generation, batch)?;
    let growth = batch.growth();
    if let Some(growth) = growth {
        seal::grow(conn, &lease.scope.tenant, growth)?;
        crash::point("seal.rows_written");
    }
    crash::point("commit.rows_written");
    resolve_upto(conn, &lease.scope, batch.to)?;
    if batch.checkpoint {
        add_checkpoint(conn, lease, batch)?;
    }
    if growth.is_some() {
        crash::point("seal.before_fence");
    }
    crash::point("commit.before_fence");
    let Lease { scope, epoch, generation, .. } = lease;
    let moved = conn.run(
        sql!(SQL, "commit_scope"),
        params![
            scope.tenant.as_str(),
            scope.projection,
            batch.from.0,
            epoch.counter,
            epoch.token,
            generation.0,
            batch.to.0,
            batch.digest.to_bytes(),
            batch.version,
            batch.deviates,
        ],
    )?;
    if moved != 1 {
        return Err(StoreError::fenced(format!(
            "{}: this batch does not match the scope's epoch and cursor",
            lease.scope
        ))
        .into());
    }
    crash::point("commit.before_commit");
    Ok(())
}

/// Commits to a generation under construction, inside a writing transaction.
fn commit_build(conn: &Connection, lease: &BuildLease, batch: &Batch) -> Result<()> {
    crash::point("build.begin");
    check_order(batch)?;
    let cursor = super::build::lock(conn, lease)?.position.cursor;
    if cursor != batch.from {
        let text =
            format!("{}: the rebuild's cursor is {cursor}, this batch was computed at {}", lease.scope, batch.from);
        return Err(StoreError::fenced(text).into());
    }
    write_rows(conn, &lease.scope.tenant, lease.generation, batch)?;
    crash::point("build.rows_written");
    let moved = conn.run(
        sql!(SQL, "commit_build"),
        params![
            lease.generation.0,
            lease.epoch.counter,
            lease.epoch.token,
            batch.from.0,
            batch.to.0,
            batch.digest.to_bytes(),
            batch.version,
            batch.deviates,
        ],
    )?;
    if moved != 1 {
        return Err(StoreError::fenced(format!(
            "{}: this batch does not match the rebuild's epoch and cursor",
            lease.scope
        ))
        .into());
    }
    crash::point("build.before_commit");
    Ok(())
}

fn check_order(batch: &Batch) -> Result<()> {
    if batch.to < batch.from {
        return Err(StoreError::internal(format!("a batch from {} to {} goes backwards", batch.from, batch.to)).into());
    }
    Ok(())
}

/// Tells a stale writer that the scope has changed.
fn check_scope(conn: &Connection, lease: &Lease, batch: &Batch) -> Result<()> {
    let of = params![lease.scope.tenant.as_str(), lease.scope.projection];
    let found: Option<(i64, Uuid, i64, i64)> = conn.first(sql!(SQL, "scope_holds"), of)?;
    let Some((epoch, token, generation, cursor)) = found else {
        return Err(StoreError::fenced(format!("{}: there is no such scope", lease.scope)).into());
    };
    if (epoch, token) != (lease.epoch.counter, lease.epoch.token) {
        let mine = lease.epoch;
        return Err(
            StoreError::fenced(format!("{}: the scope has epoch {epoch}, this batch has {mine}", lease.scope)).into()
        );
    }
    if generation != lease.generation.0 {
        let mine = lease.generation;
        return Err(StoreError::fenced(format!(
            "{}: generation {generation} is live, but this batch is for {mine}",
            lease.scope
        ))
        .into());
    }
    if cursor != batch.from.0 {
        return Err(StoreError::fenced(format!(
            "{}: the cursor is {cursor}, this batch was computed at {}",
            lease.scope, batch.from
        ))
        .into());
    }
    Ok(())
}

fn write_rows(conn: &Connection, tenant: &TenantId, generation: Generation, batch: &Batch) -> Result<()> {
    for (table, changes) in batch.tables.iter().zip(batch.changes.tables.iter()) {
        let since = Since::of(batch.tables, table, &batch.changes);
        write_table(conn, table, tenant.as_str(), generation.0, changes, &since)?;
    }
    Ok(())
}

fn write_table(
    conn: &Connection,
    table: &Table,
    tenant: &str,
    generation: i64,
    changes: &TableChanges,
    since: &Since<'_>,
) -> Result<()> {
    // Deletes first, then updates, then inserts: each key is in one list only, so the order matters for locality alone.
    if !changes.deletes.is_empty() {
        let mut delete = conn.prepare_cached(&delete_sql(table))?;
        bind_scope(&mut delete, tenant, generation)?;
        for (key, row) in by_key(table, &changes.deletes, |row| row) {
            bind_key(&mut delete, &key)?;
            bind_columns(&mut delete, &row.0, 4)?;
            if delete.raw_execute()? != 1 {
                return Err(corruption(table, row.key()).into());
            }
        }
    }
    if !changes.updates.is_empty() {
        let mut update = conn.prepare_cached(&update_sql(table))?;
        bind_scope(&mut update, tenant, generation)?;
        for (key, (before, after)) in by_key(table, &changes.updates, |(before, _)| before) {
            bind_key(&mut update, &key)?;
            let at = bind_columns(&mut update, &before.0, 4)?;
            let at = bind_columns(&mut update, &after.0[1..], at)?;
            bind_hashes(&mut update, table, after, at)?;
            if update.raw_execute()? != 1 {
                return Err(corruption(table, before.key()).into());
            }
        }
    }
    if !changes.inserts.is_empty() {
        let mut insert = conn.prepare_cached(&insert_sql(table))?;
        bind_scope(&mut insert, tenant, generation)?;
        for (key, row) in by_key(table, &changes.inserts, |row| row) {
            bind_key(&mut insert, &key)?;
            let at = bind_columns(&mut insert, &row.0, 4)?;
            let at = bind_hashes(&mut insert, table, row, at)?;
            bind_since(&mut insert, table, row, since, at)?;
            insert.raw_execute()?;
        }
    }
    Ok(())
}

/// Sorts items in the order of the index that they go into.
fn by_key<'r, T>(table: &Table, items: &'r [T], row: impl Fn(&T) -> &Row) -> Vec<(Identity, &'r T)> {
    let identity = |item: &T| table.identity(row(item));
    let mut keyed: Vec<(Identity, &T)> = items.iter().map(|item| (identity(item), item)).collect();
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed
}

fn add_checkpoint(conn: &Connection, lease: &Lease, batch: &Batch) -> Result<()> {
    let (tenant, projection) = (lease.scope.tenant.as_str(), lease.scope.projection);
    let last: Option<(i64, String)> = conn.first(sql!(SQL, "checkpoint_last"), [tenant, projection])?;
    let (number, previous) = last.map_or((1, String::new()), |(number, hash)| (number + 1, hash));
    let (digest, version) = (batch.digest.to_text(), batch.version);
    let hash = Checkpoint::chain(&previous, &lease.scope, batch.to, &digest, version);
    let of = params![tenant, projection, number, lease.generation.0, batch.to.0, version, digest, previous, hash];
    conn.run(sql!(SQL, "checkpoint_add"), of)?;
    conn.run(sql!(SQL, "checkpoint_trim"), params![tenant, projection, number - CHECKPOINTS_MAX])?;
    Ok(())
}
