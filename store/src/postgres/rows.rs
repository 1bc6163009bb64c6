//! Statements and values of a projection's tables, from [`Table`]: one statement per table and kind of change, whatever
//! the number of rows.
//!
//! Statements name the partition, not the partitioned table. That saves routing every row, and planning over all
//! partitions.

use super::values::Id;
use crate::since::{Since, naming};
use crate::{Generation, KeyedRow, Result, StoreError};
use bytes::{BufMut as _, Bytes, BytesMut};
use decisiongraph_projections::{ColumnType, Hashed, Identity, Row, Table, Value};
use tokio_postgres::types::ToSql;

/// First number of the generations that own a partition.
pub(super) const OWN_FROM: i64 = 1 << 40;

/// True when the generation owns a partition.
pub(super) fn is_own(generation: Generation) -> bool {
    generation.0 >= OWN_FROM
}

/// Schema of the tables that nodes make; it is on no search path (ADR 11).
const OWN_SCHEMA: &str = "dg_partitions";

/// Names the partition that holds the rows of a generation, for a statement.
pub(super) fn leaf(table: &str, generation: Generation) -> String {
    match is_own(generation) {
        true => format!("{OWN_SCHEMA}.{}", own_name(table, generation)),
        false => format!("{table}_shared"),
    }
}

/// Names a generation's own table without its schema; the names of its indexes and constraints begin with it.
pub(super) fn own_name(table: &str, generation: Generation) -> String {
    format!("{table}_g{generation}")
}

/// A parameter.
pub(super) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// Returns the parameters in the driver's form.
pub(super) fn refs<'p>(params: &'p [Param<'_>]) -> impl ExactSizeIterator<Item = &'p (dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as &(dyn ToSql + Sync))
}

/// Lists the columns of a table by name for a statement, each behind `prefix`.
pub(super) fn column_list(table: &Table, prefix: &str) -> String {
    let names = table.columns.iter().map(|column| format!("{prefix}{}", column.name));
    names
        .chain(table.hashed.iter().map(|hashed| format!("{prefix}{}_key", table.columns[hashed.column].name)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Lists the further columns of a written row beside [`column_list`], each after a comma. They hold the position at
/// which the row that a hashed column names was created, if it is known.
pub(super) fn since_list(table: &Table) -> String {
    naming(table).iter().map(|named| format!(", {}_since", table.columns[named.column].name)).collect()
}

fn array_type(kind: ColumnType) -> &'static str {
    if kind == ColumnType::Int { "bigint" } else { "text" }
}

/// Returns the type of the key beside a hashed column. It has 16 bytes, or with a place before them 20, like each
/// `row_key`.
fn key_type(hashed: &Hashed) -> &'static str {
    if hashed.place.is_some() { ROW_KEY_TYPE } else { "uuid" }
}

const ROW_KEY_TYPE: &str = "bytea";

/// Returns the type of the look-up key of this column.
pub(super) fn type_looked_up(table: &Table, column: usize) -> &'static str {
    table.hashed.iter().find(|hashed| hashed.column == column).map_or(ROW_KEY_TYPE, key_type)
}

/// Writes the INSERT. `$1` tenant, `$2` generation, `$3` row keys. One array per column, per hashed column and per
/// column of [`since_list`] follow.
pub(super) fn insert_statement(table: &Table, leaf: &str) -> String {
    let mut arrays = vec![format!("$3::{ROW_KEY_TYPE}[]")];
    let kinds = table.columns.iter().map(|column| array_type(column.kind)).chain(table.hashed.iter().map(key_type));
    let kinds = kinds.chain(naming(table).iter().map(|_| "bigint"));
    arrays.extend(kinds.enumerate().map(|(i, kind)| format!("${}::{kind}[]", i + 4)));
    // Plain INSERT: prior state shows the new rows, and the cursor commits with them. A duplicate means another writer,
    // rows that differ from the digest, or a wrong assumption in the prior state.
    format!(
        "INSERT INTO {leaf} (tenant_id, generation, row_key, {}{}) SELECT $1::text, $2::bigint, * FROM unnest({})",
        column_list(table, ""),
        since_list(table),
        arrays.join(", ")
    )
}

/// Builds the parameters of [`insert_statement`] behind tenant and generation.
pub(super) fn insert_params<'a>(
    table: &Table,
    rows: &[(Identity, &'a Row)],
    since: &Since<'_>,
    params: &mut Vec<Param<'a>>,
) {
    params.push(keys(rows));
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|(_, row)| *row)));
    }
    for hashed in table.hashed {
        params.push(Box::new(rows.iter().map(|(_, row)| key_beside(row, hashed)).collect::<Vec<_>>()));
    }
    for named in naming(table) {
        params.push(Box::new(rows.iter().map(|(_, row)| since.beside(row, named.column)).collect::<Vec<_>>()));
    }
}

fn keys<'a, R>(rows: &[(Identity, R)]) -> Param<'a> {
    Box::new(rows.iter().map(|(key, _)| Id(*key)).collect::<Vec<_>>())
}

fn column<'a>(table: &Table, index: usize, rows: impl Iterator<Item = &'a Row>) -> Param<'a> {
    match table.columns[index].kind {
        ColumnType::Int => Box::new(rows.map(|row| row.0[index].as_int()).collect::<Vec<_>>()),
        _ => Box::new(rows.map(|row| row.0[index].as_str()).collect::<Vec<_>>()),
    }
}

fn key_beside(row: &Row, hashed: &Hashed) -> Id {
    Id(hashed.key(row.0[hashed.column].as_str().unwrap_or_default()))
}

/// Writes the UPDATE or DELETE. `$1` tenant, `$2` generation, `$3` row keys, one array per column before the change.
/// For an update, one array per column and hashed column after it follows.
///
/// The rows are found by index from the given keys, and compared whole with their former state. A row that differs from
/// the batch's prior state is not touched, and the count then shows it. LIMIT keeps the planner from starting at the
/// table, whatever it believes of its size.
fn changing_statement(table: &Table, leaf: &str, update: bool) -> String {
    let columns = table.columns.len();
    let mut arrays = vec![format!("$3::{ROW_KEY_TYPE}[]")];
    let mut names = vec!["row_key".to_owned()];
    for (i, column) in table.columns.iter().enumerate() {
        arrays.push(format!("${}::{}[]", arrays.len() + 3, array_type(column.kind)));
        names.push(format!("b{i}"));
    }
    let mut set = Vec::new();
    if update {
        for (i, column) in table.columns.iter().enumerate() {
            arrays.push(format!("${}::{}[]", arrays.len() + 3, array_type(column.kind)));
            names.push(format!("a{i}"));
            set.push(format!("{} = u.a{i}", column.name));
        }
        for (i, hashed) in table.hashed.iter().enumerate() {
            arrays.push(format!("${}::{}[]", arrays.len() + 3, key_type(hashed)));
            names.push(format!("h{i}"));
            set.push(format!("{}_key = u.h{i}", table.columns[hashed.column].name));
        }
        set.extend(naming(table).iter().map(|named| format!("{}_since = 0", table.columns[named.column].name)));
    }
    let before = |prefix: &str| {
        (0..columns).map(|i| format!("{prefix}{}", table.columns[i].name)).collect::<Vec<_>>().join(", ")
    };
    let given = (0..columns).map(|i| format!("u.b{i}")).collect::<Vec<_>>().join(", ");
    let source = format!(
        "unnest({}) AS u({}) CROSS JOIN LATERAL (SELECT x.ctid FROM {leaf} x WHERE x.tenant_id = $1::text AND x.generation = $2::bigint \
         AND x.row_key BETWEEN u.row_key AND u.row_key AND ROW({}) IS NOT DISTINCT FROM ROW({given}) ORDER BY x.row_key LIMIT 1) AS f",
        arrays.join(", "),
        names.join(", "),
        before("x.")
    );
    if update {
        format!("UPDATE {leaf} t SET {} FROM {source} WHERE t.ctid = f.ctid", set.join(", "))
    } else {
        format!("DELETE FROM {leaf} t USING {source} WHERE t.ctid = f.ctid")
    }
}

/// Writes an update; see [`changing_statement`].
pub(super) fn update_statement(table: &Table, leaf: &str) -> String {
    changing_statement(table, leaf, true)
}

/// Writes a delete; see [`changing_statement`].
pub(super) fn delete_statement(table: &Table, leaf: &str) -> String {
    changing_statement(table, leaf, false)
}

/// Builds the parameters of [`update_statement`] behind tenant and generation.
pub(super) fn update_params<'a>(table: &Table, rows: &[(Identity, &'a (Row, Row))], params: &mut Vec<Param<'a>>) {
    params.push(keys(rows));
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|(_, (before, _))| before)));
    }
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|(_, (_, after))| after)));
    }
    for hashed in table.hashed {
        params.push(Box::new(rows.iter().map(|(_, (_, after))| key_beside(after, hashed)).collect::<Vec<_>>()));
    }
}

/// Builds the parameters of [`delete_statement`] behind tenant and generation.
pub(super) fn delete_params<'a>(table: &Table, rows: &[(Identity, &'a Row)], params: &mut Vec<Param<'a>>) {
    params.push(keys(rows));
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|(_, row)| *row)));
    }
}

/// Sorts rows with their identities, in the order of the index that they go into.
pub(super) fn sorted<'r, R>(table: &Table, rows: &'r [R], row: impl Fn(&R) -> &Row) -> Vec<(Identity, &'r R)> {
    let mut sorted: Vec<(Identity, &R)> = rows.iter().map(|item| (table.identity(row(item)), item)).collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    sorted
}

/// Writes the statement that receives [`copy_data`].
pub(super) fn copy_statement(table: &Table, leaf: &str) -> String {
    let (columns, since) = (column_list(table, ""), since_list(table));
    format!("COPY {leaf} (tenant_id, generation, row_key, {columns}{since}) FROM STDIN (FORMAT binary)")
}

/// Encodes rows in the server's binary COPY format, in chunks.
pub(super) fn copy_data(
    table: &Table,
    tenant: &str,
    generation: Generation,
    rows: &[(Identity, &Row)],
    since: &Since<'_>,
) -> Vec<Bytes> {
    const CHUNK_BYTES: usize = 256 * 1024;
    let named = naming(table);
    let fields = (3 + table.columns.len() + table.hashed.len() + named.len()) as i16;
    let mut chunks = Vec::new();
    let mut out = BytesMut::with_capacity(CHUNK_BYTES + 4096);
    out.put_slice(b"PGCOPY\n\xff\r\n\0");
    out.put_i32(0);
    out.put_i32(0);
    let text = |out: &mut BytesMut, text: &str| {
        out.put_i32(text.len() as i32);
        out.put_slice(text.as_bytes());
    };
    let identity = |out: &mut BytesMut, key: Identity| {
        out.put_i32(key.as_bytes().len() as i32);
        out.put_slice(key.as_bytes());
    };
    for (key, row) in rows {
        out.put_i16(fields);
        text(&mut out, tenant);
        out.put_i32(8);
        out.put_i64(generation.0);
        identity(&mut out, *key);
        for value in &row.0 {
            match value {
                Value::Null => out.put_i32(-1),
                Value::Text(value) => text(&mut out, value),
                Value::Int(value) => {
                    out.put_i32(8);
                    out.put_i64(*value);
                }
            }
        }
        for hashed in table.hashed {
            identity(&mut out, key_beside(row, hashed).0);
        }
        for named in named {
            out.put_i32(8);
            out.put_i64(since.beside(row, named.column));
        }
        if out.len() >= CHUNK_BYTES {
            chunks.push(out.split().freeze());
        }
    }
    out.put_i16(-1);
    chunks.push(out.freeze());
    chunks
}

/// Reads a row whose columns begin at `at`, in the table's order.
pub(super) fn row_at(table: &Table, row: &tokio_postgres::Row, at: usize) -> Result<Row> {
    let unreadable = |error: tokio_postgres::Error| StoreError::internal(format!("{}: {error}", table.name));
    let mut values = Vec::with_capacity(table.columns.len());
    for (i, column) in table.columns.iter().enumerate() {
        values.push(match column.kind {
            ColumnType::Int => Value::Int(row.try_get(at + i).map_err(unreadable)?),
            ColumnType::Text => row.try_get::<_, &str>(at + i).map_err(unreadable)?.into(),
            ColumnType::OptionalText => row.try_get::<_, Option<&str>>(at + i).map_err(unreadable)?.into(),
        });
    }
    Ok(Row(values))
}

/// Reads `row_key`, then the columns of [`column_list`] and [`since_list`].
pub(super) fn keyed_row(table: &Table, row: &tokio_postgres::Row) -> Result<KeyedRow> {
    let unreadable = |error: tokio_postgres::Error| StoreError::internal(format!("{}: {error}", table.name));
    let Id(key) = row.try_get(0).map_err(unreadable)?;
    let at = 1 + table.columns.len();
    let hashed = (0..table.hashed.len())
        .map(|i| row.try_get::<_, Id>(at + i).map(|id| id.0).map_err(unreadable))
        .collect::<Result<_>>()?;
    let at = at + table.hashed.len();
    let since = (0..naming(table).len()).map(|i| row.try_get(at + i).map_err(unreadable)).collect::<Result<_>>()?;
    Ok(KeyedRow { key, row: row_at(table, row, 1)?, hashed, since })
}
