//! The floors on SQLite: the very same rows, already computed, through prepared statements. There is one connection
//! (SQLite has one writer), as durable as the store is.
//!
//! * Catch-up: into tables with the same indexes, rows sorted by key, one transaction per batch and projection.
//! * Rebuild: into fresh tables without indexes but the primary key; indexes are built afterwards. One transaction per
//!   projection.

use super::folded::FoldedProjection;
use super::layout::{Layout, Origin, sort_by_key};
use anyhow::Result;
use decisiongraph_projections::{Identity, Projection, Row};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql};
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes the changes of each batch. Returns the time that this took. `store` is a migrated store, `floor` a file to be
/// made.
pub fn catch_up(store: &Path, floor: &Path, folded: &[FoldedProjection]) -> Result<Duration> {
    let (connection, layouts, indexes) = tables(store, floor, folded)?;
    for index in indexes.iter().flatten() {
        connection.execute_batch(index)?;
    }
    let mut statements = Vec::new();
    for layouts in &layouts {
        let prepared: Result<Vec<_>> = layouts.iter().map(|layout| prepare(&connection, layout)).collect();
        statements.push(prepared?);
    }
    let started = Instant::now();
    for batch in 0..folded.first().map_or(0, |part| part.batches.len()) {
        for ((part, layouts), statements) in folded.iter().zip(&layouts).zip(&mut statements) {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for ((changes, layout), statements) in part.batches[batch].tables.iter().zip(layouts).zip(statements) {
                let mut inserts: Vec<&Row> = changes.inserts.iter().collect();
                let mut updates: Vec<&Row> = changes.updates.iter().map(|(_, after)| after).collect();
                let mut deletes: Vec<&Row> = changes.deletes.iter().collect();
                for rows in [&mut inserts, &mut updates, &mut deletes] {
                    sort_by_key(layout.table, rows);
                }
                for row in deletes {
                    statements.delete.execute([layout.key(row, 0).as_bytes()])?;
                }
                for row in inserts {
                    execute(&mut statements.insert, layout, row)?;
                }
                for row in updates {
                    execute(&mut statements.update, layout, row)?;
                }
            }
            connection.execute_batch("COMMIT")?;
        }
    }
    Ok(started.elapsed())
}

/// Writes the final rows. Returns the time that this took, indexes included.
pub fn rebuild(store: &Path, floor: &Path, folded: &[FoldedProjection]) -> Result<Duration> {
    let (connection, layouts, indexes) = tables(store, floor, folded)?;
    let started = Instant::now();
    for ((part, layouts), indexes) in folded.iter().zip(&layouts).zip(&indexes) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for (rows, layout) in part.rows.iter().zip(layouts) {
            let mut statements = prepare(&connection, layout)?;
            for row in rows {
                execute(&mut statements.insert, layout, row)?;
            }
        }
        for index in indexes {
            connection.execute_batch(index)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(started.elapsed())
}

/// Makes the tables of a store in a file of their own. Returns, by projection, layouts and index statements that are
/// yet to run.
#[allow(clippy::type_complexity)]
fn tables(
    store: &Path,
    floor: &Path,
    folded: &[FoldedProjection],
) -> Result<(Connection, Vec<Vec<Layout>>, Vec<Vec<String>>)> {
    let like = Connection::open(store)?;
    let connection = Connection::open(floor)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    let (mut layouts, mut indexes) = (Vec::new(), Vec::new());
    for part in folded {
        let projection: &dyn Projection = part.projection;
        let (mut of_projection, mut later) = (Vec::new(), Vec::<String>::new());
        for table in projection.tables() {
            let mut schema =
                like.prepare("SELECT type, sql FROM sqlite_schema WHERE tbl_name = ?1 AND sql IS NOT NULL")?;
            let statements =
                schema.query_map([table.name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            for statement in statements {
                match statement? {
                    (kind, sql) if kind == "table" => connection.execute_batch(&sql)?,
                    (_, sql) => later.push(sql),
                }
            }
            let mut columns = like.prepare(&format!("SELECT name FROM pragma_table_info('{}')", table.name))?;
            let names = columns.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            of_projection.push(Layout::new(table, names, &part.since)?);
        }
        layouts.push(of_projection);
        indexes.push(later);
    }
    Ok((connection, layouts, indexes))
}

struct Statements<'c> {
    insert: Statement<'c>,
    update: Statement<'c>,
    delete: Statement<'c>,
}

fn prepare<'c>(connection: &'c Connection, layout: &Layout) -> Result<Statements<'c>> {
    // Parameters are numbered as `varying` lists the columns, in each statement.
    let numbered: Vec<(&str, String)> =
        layout.varying().enumerate().map(|(n, (name, _))| (name, format!("?{}", n + 1))).collect();
    let names: Vec<&str> = numbered.iter().map(|(name, _)| *name).collect();
    let numbers: Vec<&str> = numbered.iter().map(|(_, number)| number.as_str()).collect();
    let set: Vec<String> = numbered.iter().map(|(name, number)| format!("{name} = {number}")).collect();
    let key = names.iter().position(|name| *name == "row_key").map_or(1, |at| at + 1);
    let table = layout.table.name;
    let this = "tenant_id = 'default' AND generation = 1 AND row_key =";
    let (names, numbers, set) = (names.join(", "), numbers.join(", "), set.join(", "));
    Ok(Statements {
        insert: connection.prepare(&format!(
            "INSERT INTO {table} (tenant_id, generation, {names}) VALUES ('default', 1, {numbers})"
        ))?,
        update: connection.prepare(&format!("UPDATE {table} SET {set} WHERE {this} ?{key}"))?,
        delete: connection.prepare(&format!("DELETE FROM {table} WHERE {this} ?1"))?,
    })
}

/// Runs an insert or update with the values of this row.
fn execute(statement: &mut Statement<'_>, layout: &Layout, row: &Row) -> Result<()> {
    for (index, (_, origin)) in layout.varying().enumerate() {
        let value = match origin {
            Origin::Key(column) => Bound::Key(layout.key(row, column)),
            Origin::Since(number) => Bound::Int(layout.since(row, number)),
            Origin::Column(column) if layout.is_int(column) => Bound::Int(Layout::int(row, column)),
            Origin::Column(column) => Bound::Text(Layout::text(row, column)),
            Origin::Tenant | Origin::Generation => Bound::Text(None),
        };
        statement.raw_bind_parameter(index + 1, value)?;
    }
    statement.raw_execute()?;
    Ok(())
}

enum Bound<'r> {
    Key(Identity),
    Int(i64),
    Text(Option<&'r str>),
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Bound::Key(key) => ValueRef::Blob(key.as_bytes()),
            Bound::Int(int) => ValueRef::Integer(*int),
            Bound::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Bound::Text(None) => ValueRef::Null,
        }))
    }
}
