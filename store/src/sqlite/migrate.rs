//! The schema: `migrations/sqlite`, run by refinery inside one exclusive transaction. Two processes at once are
//! therefore safe, and a failed migration leaves nothing behind.

use super::errors::too_new;
use super::errors::{Failed, Result};
use crate::{SchemaStatus, StoreError};
use decisiongraph_projections::rows::KeyPart;
use refinery::Migration;
use refinery_core::traits::sync::{Migrate, Query, Transaction};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

mod embedded {
    refinery::embed_migrations!("../migrations/sqlite");
}

/// Returns the newest migration of this program.
pub(super) fn program_version() -> i64 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(|migration| migration.version().into())
        .max()
        .unwrap_or(0)
}

/// Reads the database's version and the program's. Works on an empty database.
pub(super) fn status(conn: &Connection) -> Result<SchemaStatus> {
    let known: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    let database = match known {
        true => {
            conn.query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))?
        }
        false => 0,
    };
    let says: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'dg_schema')",
        [],
        |row| row.get(0),
    )?;
    // Before that table existed, a schema served only its own version.
    let serves_from = match says {
        true => conn.query_row("SELECT serves_from FROM dg_schema", [], |row| row.get(0))?,
        false => database,
    };
    Ok(SchemaStatus { database, program: program_version(), serves_from })
}

/// Brings the schema up to date and returns the names of the applied migrations. Call it inside an exclusive
/// transaction.
pub(super) fn run(conn: &Connection) -> Result<Vec<String>> {
    let before = status(conn)?;
    if before.database > before.program {
        return Err(too_new(before.database, before.program).into());
    }
    add_functions(conn)?;
    let mut inside = InsideTransaction { conn, fault: None };
    match embedded::migrations::runner().run(&mut inside) {
        Ok(report) => Ok(report.applied_migrations().iter().map(ToString::to_string).collect()),
        Err(error) => Err(inside.fault.take().unwrap_or_else(|| StoreError::internal(error.to_string()).into())),
    }
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

/// Lets refinery work inside the transaction that is already open. Its own driver would begin one transaction per step,
/// and another process could step in between two of them.
struct InsideTransaction<'c> {
    conn: &'c Connection,
    fault: Option<Failed>,
}

impl InsideTransaction<'_> {
    fn noted<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.fault = Some(error.clone());
        }
        result
    }
}

impl Transaction for InsideTransaction<'_> {
    type Error = Failed;

    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, queries: T) -> Result<usize> {
        let mut count = 0;
        for query in queries {
            let done = self.conn.execute_batch(query);
            self.noted(done.map_err(Failed::from))?;
            count += 1;
        }
        Ok(count)
    }
}

impl Query<Vec<Migration>> for InsideTransaction<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Migration>> {
        let applied = applied(self.conn, query);
        self.noted(applied)
    }
}

impl Migrate for InsideTransaction<'_> {}

fn applied(conn: &Connection, query: &str) -> Result<Vec<Migration>> {
    let known = embedded::migrations::runner();
    let mut statement = conn.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut applied = Vec::new();
    while let Some(row) = rows.next()? {
        let (version, name, checksum): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let migration = known.get_migrations().iter().find(|migration| {
            i64::from(migration.version()) == version
                && migration.name() == name
                && migration.checksum().to_string() == checksum
        });
        match migration {
            Some(migration) => applied.push(migration.clone()),
            None => {
                return Err(StoreError::new(
                    decisiongraph_projections::Category::VersionMismatch,
                    format!("the applied migration {version} ({name}) is not this program's"),
                )
                .into());
            }
        }
    }
    Ok(applied)
}
