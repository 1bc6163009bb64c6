//! The floors on PostgreSQL: the very same rows, already computed, written in the fastest way found.
//!
//! * Catch-up: into tables with the same indexes, `INSERT … SELECT FROM unnest(…)` of rows sorted by key. One pipelined
//!   transaction per batch, one connection per projection, all connections at the same time.
//! * Rebuild: binary COPY into fresh tables without indexes, which are built afterwards; one connection per projection.
//!
//! Neither reads the log, keeps a cursor, checks a hash or computes a digest.

use super::folded::FoldedProjection;
use super::layout::{Layout, Origin, sort_by_key};
use anyhow::{Context as _, Result};
use bytes::BytesMut;
use decisiongraph_projections::{Identity, Row};
use futures_util::future::try_join_all;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

const TENANT: &str = "default";
const GENERATION: i64 = 1;

/// An identity or a hash, sent as a uuid or, with a place before it, as bytes.
#[derive(Debug)]
struct Key(Identity);

impl ToSql for Key {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
    fn accepts(of: &Type) -> bool {
        [Type::UUID, Type::BYTEA].contains(of)
    }
    to_sql_checked!();
}

type Parameter<'r> = Box<dyn ToSql + Sync + Send + 'r>;

/// Writes the changes of each batch. Returns the time that this took.
pub async fn catch_up(url: &str, folded: &Arc<Vec<FoldedProjection>>) -> Result<Duration> {
    let admin = connect(url).await?;
    let layouts = layouts(&admin, folded).await?;
    admin.batch_execute("DROP SCHEMA IF EXISTS floor CASCADE; CREATE SCHEMA floor").await?;
    for layout in layouts.iter().flatten() {
        let name = layout.table.name;
        admin.batch_execute(&format!("CREATE TABLE floor.{name} (LIKE {name} INCLUDING ALL)")).await?;
    }
    admin.batch_execute("CHECKPOINT").await?;
    let mut writers = Vec::new();
    for (index, layouts) in layouts.into_iter().enumerate() {
        writers.push((index, connect(url).await?, layouts));
    }
    let started = Instant::now();
    let tasks = writers.into_iter().map(|(index, client, layouts)| {
        let folded = Arc::clone(folded);
        tokio::spawn(async move { write_batches(&client, &folded[index], &layouts).await })
    });
    for done in try_join_all(tasks).await? {
        done?;
    }
    Ok(started.elapsed())
}

/// Writes the final rows. Returns the time that this took, indexes included.
pub async fn rebuild(url: &str, folded: &Arc<Vec<FoldedProjection>>) -> Result<Duration> {
    let admin = connect(url).await?;
    let layouts = layouts(&admin, folded).await?;
    admin.batch_execute("DROP SCHEMA IF EXISTS floor CASCADE; CREATE SCHEMA floor; CHECKPOINT").await?;
    let mut writers = Vec::new();
    for (index, layouts) in layouts.into_iter().enumerate() {
        let mut tables = Vec::new();
        for layout in layouts {
            let indexes = index_definitions(&admin, layout.table.name).await?;
            tables.push((layout, indexes));
        }
        writers.push((index, connect(url).await?, tables));
    }
    let started = Instant::now();
    let tasks = writers.into_iter().map(|(index, client, tables)| {
        let folded = Arc::clone(folded);
        tokio::spawn(async move {
            for ((layout, indexes), rows) in tables.iter().zip(&folded[index].rows) {
                copy(&client, layout, rows).await?;
                for index in indexes {
                    client.batch_execute(index).await?;
                }
            }
            Ok::<(), anyhow::Error>(())
        })
    });
    for done in try_join_all(tasks).await? {
        done?;
    }
    Ok(started.elapsed())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("the floor cannot connect")?;
    tokio::spawn(connection);
    Ok(client)
}

async fn layouts(client: &Client, folded: &[FoldedProjection]) -> Result<Vec<Vec<Layout>>> {
    let mut all = Vec::new();
    for part in folded {
        let mut layouts = Vec::new();
        for table in part.projection.tables() {
            let columns = "SELECT attname::text FROM pg_attribute
                            WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
            let rows = client.query(columns, &[&table.name]).await?;
            layouts.push(Layout::new(table, rows.iter().map(|row| row.get(0)).collect(), &part.since)?);
        }
        all.push(layouts);
    }
    Ok(all)
}

/// Returns the statements that give `floor.{table}` the indexes of `{table}`.
async fn index_definitions(client: &Client, table: &str) -> Result<Vec<String>> {
    let definitions = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1::text::regclass ORDER BY 1";
    let rows = client.query(definitions, &[&table]).await?;
    rows.iter()
        .map(|row| {
            let definition: String = row.get(0);
            let (head, tail) = definition.split_once(" USING ").context("an index definition has USING")?;
            let (head, _) = head.split_once(" ON ").context("an index definition has ON")?;
            Ok(format!("{head} ON floor.{table} USING {tail}"))
        })
        .collect()
}

fn type_of(layout: &Layout, origin: Origin) -> (&'static str, Type) {
    match origin {
        Origin::Key(column) if layout.placed(column) => ("bytea", Type::BYTEA),
        Origin::Key(_) => ("uuid", Type::UUID),
        Origin::Since(_) => ("bigint", Type::INT8),
        Origin::Column(column) if layout.is_int(column) => ("bigint", Type::INT8),
        Origin::Column(_) => ("text", Type::TEXT),
        Origin::Generation => ("bigint", Type::INT8),
        Origin::Tenant => ("text", Type::TEXT),
    }
}

struct Statements {
    insert: Statement,
    update: Statement,
    delete: Statement,
}

async fn prepare(client: &Client, layout: &Layout) -> Result<Statements> {
    let table = layout.table.name;
    let varying: Vec<(&str, Origin)> = layout.varying().collect();
    let names: Vec<&str> = varying.iter().map(|(name, _)| *name).collect();
    let arrays: Vec<String> = varying
        .iter()
        .enumerate()
        .map(|(n, (_, origin))| format!("${}::{}[]", n + 1, type_of(layout, *origin).0))
        .collect();
    let columns: Vec<&str> = layout.columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<String> = layout
        .columns
        .iter()
        .map(|(name, origin)| match origin {
            Origin::Tenant => format!("'{TENANT}'"),
            Origin::Generation => GENERATION.to_string(),
            _ => format!("u.{name}"),
        })
        .collect();
    let (names, arrays) = (names.join(", "), arrays.join(", "));
    let unnest = format!("unnest({arrays}) AS u({names})");
    let insert =
        format!("INSERT INTO floor.{table} ({}) SELECT {} FROM {unnest}", columns.join(", "), values.join(", "));
    let set: Vec<String> =
        varying.iter().filter(|(name, _)| *name != "row_key").map(|(name, _)| format!("{name} = u.{name}")).collect();
    let this = format!("t.tenant_id = '{TENANT}' AND t.generation = {GENERATION} AND t.row_key = u.row_key");
    let update = format!("UPDATE floor.{table} t SET {} FROM {unnest} WHERE {this}", set.join(", "));
    let delete = format!(
        "DELETE FROM floor.{table} t USING unnest($1::{}[]) AS u(row_key) WHERE {this}",
        type_of(layout, Origin::Key(0)).0
    );
    Ok(Statements {
        insert: client.prepare(&insert).await?,
        update: client.prepare(&update).await?,
        delete: client.prepare(&delete).await?,
    })
}

fn arrays<'r>(layout: &Layout, rows: &[&'r Row]) -> Vec<Parameter<'r>> {
    let array = |(_, origin): (&str, Origin)| -> Parameter<'r> {
        match origin {
            Origin::Key(column) => Box::new(rows.iter().map(|row| Key(layout.key(row, column))).collect::<Vec<_>>()),
            Origin::Since(number) => Box::new(rows.iter().map(|row| layout.since(row, number)).collect::<Vec<_>>()),
            Origin::Column(column) if layout.is_int(column) => {
                Box::new(rows.iter().map(|row| Layout::int(row, column)).collect::<Vec<_>>())
            }
            Origin::Column(column) => Box::new(rows.iter().map(|row| Layout::text(row, column)).collect::<Vec<_>>()),
            Origin::Tenant | Origin::Generation => unreachable_constant(),
        }
    };
    layout.varying().map(array).collect()
}

/// Returns a placeholder for a case that cannot occur: `varying` leaves the constant columns out.
fn unreachable_constant<'r>() -> Parameter<'r> {
    Box::new(Option::<i64>::None)
}

async fn write_batches(client: &Client, folded: &FoldedProjection, layouts: &[Layout]) -> Result<()> {
    let mut statements = Vec::new();
    for layout in layouts {
        statements.push(prepare(client, layout).await?);
    }
    for batch in &folded.batches {
        let mut writes: Vec<(&Statement, Vec<Parameter<'_>>)> = Vec::new();
        for ((changes, layout), statements) in batch.tables.iter().zip(layouts).zip(&statements) {
            let mut inserts: Vec<&Row> = changes.inserts.iter().collect();
            let mut updates: Vec<&Row> = changes.updates.iter().map(|(_, after)| after).collect();
            let mut deletes: Vec<&Row> = changes.deletes.iter().collect();
            for rows in [&mut inserts, &mut updates, &mut deletes] {
                sort_by_key(layout.table, rows);
            }
            if !deletes.is_empty() {
                let keys: Vec<Key> = deletes.iter().map(|row| Key(layout.key(row, 0))).collect();
                writes.push((&statements.delete, vec![Box::new(keys)]));
            }
            if !inserts.is_empty() {
                writes.push((&statements.insert, arrays(layout, &inserts)));
            }
            if !updates.is_empty() {
                writes.push((&statements.update, arrays(layout, &updates)));
            }
        }
        // Futures that are polled together in this order are sent together in this order.
        let begin = client.batch_execute("BEGIN");
        let rows = try_join_all(writes.iter().map(|(statement, parameters)| async move {
            let parameters: Vec<&(dyn ToSql + Sync)> =
                parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect();
            client.execute(*statement, &parameters).await
        }));
        let commit = client.batch_execute("COMMIT");
        let (begun, written, committed) = futures_util::join!(begin, rows, commit);
        begun?;
        written?;
        committed?;
    }
    Ok(())
}

async fn copy(client: &Client, layout: &Layout, rows: &[Row]) -> Result<()> {
    let table = layout.table.name;
    client.batch_execute(&format!("CREATE TABLE floor.{table} (LIKE {table})")).await?;
    let columns: Vec<&str> = layout.columns.iter().map(|(name, _)| name.as_str()).collect();
    let types: Vec<Type> = layout.columns.iter().map(|(_, origin)| type_of(layout, *origin).1).collect();
    let sink = client.copy_in(&format!("COPY floor.{table} ({}) FROM STDIN BINARY", columns.join(", "))).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for row in rows {
        let values: Vec<Parameter<'_>> = layout
            .columns
            .iter()
            .map(|(_, origin)| -> Parameter<'_> {
                match *origin {
                    Origin::Tenant => Box::new(TENANT),
                    Origin::Generation => Box::new(GENERATION),
                    Origin::Key(column) => Box::new(Key(layout.key(row, column))),
                    Origin::Since(number) => Box::new(layout.since(row, number)),
                    Origin::Column(column) if layout.is_int(column) => Box::new(Layout::int(row, column)),
                    Origin::Column(column) => Box::new(Layout::text(row, column)),
                }
            })
            .collect();
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    Ok(())
}
