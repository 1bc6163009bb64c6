//! The schema: `migrations/sqlite`, run inside one exclusive transaction. Two processes at once are therefore safe, and
//! a failed migration leaves nothing behind.

use super::SqliteStore;
use super::ask::Ask as _;
use super::errors::{Result, too_new};
use super::threads::blocking;
use crate::SchemaStatus;
use crate::migrations::{self, Applied, CREATE_HISTORY, READ_HISTORY, SQLITE};
use crate::sections::Schema;
use async_trait::async_trait;
use decisiongraph_projections::rows::KeyPart;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, params};

const SQL: &str = include_str!("sql/schema.sql");

#[async_trait]
impl Schema for SqliteStore {
    async fn migrate(&self) -> crate::Result<Vec<String>> {
        let file = self.database.file.clone();
        Ok(blocking(move || file.migrate()).await?)
    }

    async fn schema_status(&self) -> crate::Result<SchemaStatus> {
        let file = self.database.file.clone();
        Ok(blocking(move || file.schema_status()).await?)
    }
}

/// Compares the database with this program. Works on an empty database.
pub(super) fn status(conn: &Connection) -> Result<SchemaStatus> {
    let serves_from = match has_table(conn, "dg_schema")? {
        true => Some(conn.query_row("SELECT serves_from FROM dg_schema", [], |row| row.get(0))?),
        false => None,
    };
    Ok(migrations::status(SQLITE, &applied(conn)?, serves_from))
}

fn has_table(conn: &Connection, name: &str) -> Result<bool> {
    let (has,) = conn.one(sql!(SQL, "has_table"), [name])?;
    Ok(has)
}

fn applied(conn: &Connection) -> Result<Vec<Applied>> {
    if !has_table(conn, "refinery_schema_history")? {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare(READ_HISTORY)?;
    let applied = statement
        .query_map([], |row| Ok(Applied { version: row.get(0)?, name: row.get(1)?, checksum: row.get(2)? }))?;
    Ok(applied.collect::<rusqlite::Result<_>>()?)
}

/// Brings the schema up to date and returns the names of the applied migrations. Call it inside an exclusive
/// transaction.
pub(super) fn run(conn: &Connection) -> Result<Vec<String>> {
    let before = status(conn)?;
    if before.database > before.program {
        return Err(too_new(before.database, before.program).into());
    }
    let pending = migrations::pending(SQLITE, &applied(conn)?)?;
    add_functions(conn)?;
    conn.execute_batch(CREATE_HISTORY)?;
    for migration in &pending {
        conn.execute_batch(migration.sql)?;
        conn.execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
             VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?3)",
            params![migration.version, migration.name, migration.checksum()],
        )?;
    }
    Ok(pending.iter().map(ToString::to_string).collect())
}

/// Adds a function for the migrations that SQLite lacks: `dg_placed(key, hash, part)`, the hash of the key behind its
/// place. `part` is a [`KeyPart`]'s number. V010 passes -1 for 1 and -2 for 0, which differed then.
fn add_functions(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("dg_placed", 3, flags, |row| {
        let part = match row.get::<i64>(2)? {
            -2 => KeyPart(0),
            -1 => KeyPart(1),
            number => KeyPart(number as usize),
        };
        // The stored hash, not a recomputed one: a hash that was wrong before is found by `verify` afterwards.
        let place = part.place(row.get_raw(0).as_str()?);
        Ok([&place[..], row.get_raw(1).as_blob()?].concat())
    })?;
    Ok(())
}
