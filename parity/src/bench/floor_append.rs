//! The floor of an append: the rows of a log, read back and written once more by plain INSERTs. They go into an empty
//! table with the same columns and indexes, durably, with the same rows per statement and as many connections.
//!
//! Nothing is checked, hashed or decided, and no answer is asked for.

use super::place::{Place, Site};
use anyhow::{Context as _, Result};
use bytes::BytesMut;
use rusqlite::types::Value;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

/// Writes the log of this store once more. Returns the time that this took; nothing for several producers of an
/// embedded store, which has one writer.
pub async fn again(place: &Place, site: &Site, batch: usize, producers: usize) -> Result<Option<Duration>> {
    match place {
        Place::Postgres(_) => Ok(Some(postgres(&site.url, batch, producers).await?)),
        Place::Embedded { .. } if producers == 1 => {
            let (log, floor) = (site.path(), place.unused().await?);
            let path = floor.path();
            let took = tokio::task::spawn_blocking(move || embedded(&log, &path, batch)).await??;
            place.remove(floor).await?;
            Ok(Some(took))
        }
        Place::Embedded { .. } => Ok(None),
    }
}

/// A value as the server sent it, of any type. It is sent back as it came.
#[derive(Debug, Clone)]
struct Raw(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(raw.to_vec())))
    }
    fn from_sql_null(_: &Type) -> Result<Raw, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(raw) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(raw);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

async fn postgres(url: &str, batch: usize, producers: usize) -> Result<Duration> {
    let admin = connect(url).await?;
    let columns = "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
                    WHERE attrelid = 'dg_event_log'::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''
                    ORDER BY attnum";
    let columns: Vec<(String, String)> =
        admin.query(columns, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let names = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let rows = admin.query(&format!("SELECT {names} FROM dg_event_log ORDER BY log_seq"), &[]).await?;
    admin
        .batch_execute(
            "CREATE SCHEMA floor; CREATE TABLE floor.dg_event_log (LIKE dg_event_log INCLUDING ALL); CHECKPOINT",
        )
        .await?;
    let values: Vec<String> = (columns.iter().enumerate())
        .map(|(n, (_, of))| if batch == 1 { format!("${}", n + 1) } else { format!("unnest(${}::{of}[])", n + 1) })
        .collect();
    let insert = format!("INSERT INTO floor.dg_event_log ({names}) SELECT {}", values.join(", "));
    let value = |row: usize, column: usize| rows[row].get::<_, Raw>(column);
    let mut writers = Vec::new();
    for producer in 0..producers {
        let rows: Vec<usize> = (producer..rows.len()).step_by(producers).collect();
        let statements: Vec<Vec<Box<dyn ToSql + Sync + Send>>> = (rows.chunks(batch))
            .map(|rows| {
                let of = |column| -> Box<dyn ToSql + Sync + Send> {
                    match batch {
                        1 => Box::new(value(rows[0], column)),
                        _ => Box::new(rows.iter().map(|row| value(*row, column)).collect::<Vec<_>>()),
                    }
                };
                (0..columns.len()).map(of).collect()
            })
            .collect();
        let client = connect(url).await?;
        writers.push((client.prepare(&insert).await?, client, statements));
    }
    let started = Instant::now();
    let tasks = writers.into_iter().map(|(insert, client, statements)| {
        tokio::spawn(async move {
            for values in &statements {
                let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
                client.execute(&insert, &values).await?;
            }
            Ok::<(), tokio_postgres::Error>(())
        })
    });
    for done in futures_util::future::try_join_all(tasks).await? {
        done?;
    }
    Ok(started.elapsed())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("the floor cannot connect")?;
    tokio::spawn(connection);
    Ok(client)
}

/// The rules of the table (triggers) are left out: without them, SQLite need not be able to undo one INSERT.
fn embedded(log: &Path, floor: &Path, batch: usize) -> Result<Duration> {
    let like = rusqlite::Connection::open(log)?;
    let connection = rusqlite::Connection::open(floor)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768")?;
    let schema = "SELECT sql FROM sqlite_schema WHERE tbl_name = 'dg_event_log' AND type IN ('table', 'index')
                  AND sql IS NOT NULL ORDER BY type = 'index'";
    for sql in like.prepare(schema)?.query_map([], |row| row.get::<_, String>(0))? {
        connection.execute_batch(&sql?)?;
    }
    let mut statement = like.prepare("SELECT * FROM dg_event_log ORDER BY log_seq")?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let read = |row: &rusqlite::Row<'_>| (0..names.len()).map(|n| row.get::<_, Value>(n)).collect();
    let rows: Vec<Vec<Value>> = statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?;
    let numbers: Vec<String> = (1..=names.len()).map(|n| format!("?{n}")).collect();
    let insert = format!("INSERT INTO dg_event_log ({}) VALUES ({})", names.join(", "), numbers.join(", "));
    let mut insert = connection.prepare(&insert)?;
    let started = Instant::now();
    for rows in rows.chunks(batch) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for row in rows {
            insert.execute(rusqlite::params_from_iter(row))?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(started.elapsed())
}
