//! Statements and values of a projection's tables, from [`Table`]: one statement per table and kind of change, whatever
//! the number of rows.
//!
//! Statements name the partition, not the partitioned table. That saves routing every row, and planning over all
//! partitions.

use super::values::Id;
use crate::since::{Since, naming};
use crate::{Generation, KeyedRow, Result, StoreError};
use bytes::{BufMut as _, Bytes, BytesMut};
use decisiongraph_projections::{ColumnType, Hashed, Identity, Row, Table, TableChanges, Value};
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

/// Number of tenants of a statement's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// One tenant and generation: `$1` and `$2` are values.
    One,
    /// Several: `$1` and `$2` are arrays, with the tenant and the generation of each row.
    Several,
}

impl Of {
    /// Returns the arrays that come before the row keys.
    fn arrays(self) -> Vec<String> {
        match self {
            Of::One => Vec::new(),
            Of::Several => vec!["$1::text[]".to_owned(), "$2::bigint[]".to_owned()],
        }
    }
}

/// Changes of one generation in one table.
pub(super) struct Part<'a> {
    pub(super) tenant: &'a str,
    pub(super) generation: Generation,
    pub(super) changes: &'a TableChanges,
    pub(super) since: Since<'a>,
}

/// A row of a statement, with its identity and its part.
pub(super) struct Item<'a, R> {
    of: &'a Part<'a>,
    key: Identity,
    row: &'a R,
}

/// Writes the INSERT. `$1` tenant, `$2` generation, `$3` row keys. One array per column, per hashed column and per
/// column of [`since_list`] follow.
pub(super) fn insert_statement(table: &Table, leaf: &str, of: Of) -> String {
    let mut arrays = of.arrays();
    arrays.push(format!("$3::{ROW_KEY_TYPE}[]"));
    let kinds = table.columns.iter().map(|column| array_type(column.kind)).chain(table.hashed.iter().map(key_type));
    let kinds = kinds.chain(naming(table).iter().map(|_| "bigint"));
    arrays.extend(kinds.enumerate().map(|(i, kind)| format!("${}::{kind}[]", i + 4)));
    // Plain INSERT: prior state shows the new rows, and the cursor commits with them. A duplicate means another writer,
    // rows that differ from the digest, or a wrong assumption in the prior state.
    let scope = if of == Of::One { "$1::text, $2::bigint, " } else { "" };
    format!(
        "INSERT INTO {leaf} (tenant_id, generation, row_key, {}{}) SELECT {scope}* FROM unnest({})",
        column_list(table, ""),
        since_list(table),
        arrays.join(", ")
    )
}

/// Builds the parameters of [`insert_statement`].
pub(super) fn insert_params<'a>(table: &Table, rows: &[Item<'a, Row>], of: Of) -> Vec<Param<'a>> {
    let mut params = scoped(rows, of);
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|item| item.row)));
    }
    for hashed in table.hashed {
        params.push(Box::new(rows.iter().map(|item| key_beside(item.row, hashed)).collect::<Vec<_>>()));
    }
    for named in naming(table) {
        let since = |item: &Item<'a, Row>| item.of.since.beside(item.row, named.column);
        params.push(Box::new(rows.iter().map(since).collect::<Vec<_>>()));
    }
    params
}

/// Begins the parameters of a statement: tenant, generation and row keys.
fn scoped<'a, R>(rows: &[Item<'a, R>], of: Of) -> Vec<Param<'a>> {
    let mut params: Vec<Param<'a>> = match (of, rows.first()) {
        (Of::One, Some(item)) => vec![Box::new(item.of.tenant), Box::new(item.of.generation.0)],
        _ => vec![
            Box::new(rows.iter().map(|item| item.of.tenant).collect::<Vec<_>>()),
            Box::new(rows.iter().map(|item| item.of.generation.0).collect::<Vec<_>>()),
        ],
    };
    params.push(Box::new(rows.iter().map(|item| Id(item.key)).collect::<Vec<_>>()));
    params
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
fn changing_statement(table: &Table, leaf: &str, of: Of, update: bool) -> String {
    let columns = table.columns.len();
    let mut arrays = of.arrays();
    let mut names = if of == Of::One { Vec::new() } else { vec!["tenant_id".to_owned(), "generation".to_owned()] };
    // Parameters count from 1; two of them are tenant and generation in both forms.
    let next = 3 - arrays.len();
    arrays.push(format!("$3::{ROW_KEY_TYPE}[]"));
    names.push("row_key".to_owned());
    for (i, column) in table.columns.iter().enumerate() {
        arrays.push(format!("${}::{}[]", arrays.len() + next, array_type(column.kind)));
        names.push(format!("b{i}"));
    }
    let mut set = Vec::new();
    if update {
        for (i, column) in table.columns.iter().enumerate() {
            arrays.push(format!("${}::{}[]", arrays.len() + next, array_type(column.kind)));
            names.push(format!("a{i}"));
            set.push(format!("{} = u.a{i}", column.name));
        }
        for (i, hashed) in table.hashed.iter().enumerate() {
            arrays.push(format!("${}::{}[]", arrays.len() + next, key_type(hashed)));
            names.push(format!("h{i}"));
            set.push(format!("{}_key = u.h{i}", table.columns[hashed.column].name));
        }
        set.extend(naming(table).iter().map(|named| format!("{}_since = 0", table.columns[named.column].name)));
    }
    let before = |prefix: &str| {
        (0..columns).map(|i| format!("{prefix}{}", table.columns[i].name)).collect::<Vec<_>>().join(", ")
    };
    let given = (0..columns).map(|i| format!("u.b{i}")).collect::<Vec<_>>().join(", ");
    let (tenant, generation) = if of == Of::One { ("$1::text", "$2::bigint") } else { ("u.tenant_id", "u.generation") };
    let source = format!(
        "unnest({}) AS u({}) CROSS JOIN LATERAL (SELECT x.ctid FROM {leaf} x WHERE x.tenant_id = {tenant} AND x.generation = {generation} \
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
pub(super) fn update_statement(table: &Table, leaf: &str, of: Of) -> String {
    changing_statement(table, leaf, of, true)
}

/// Writes a delete; see [`changing_statement`].
pub(super) fn delete_statement(table: &Table, leaf: &str, of: Of) -> String {
    changing_statement(table, leaf, of, false)
}

/// Builds the parameters of [`update_statement`].
pub(super) fn update_params<'a>(table: &Table, rows: &[Item<'a, (Row, Row)>], of: Of) -> Vec<Param<'a>> {
    let mut params = scoped(rows, of);
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|item| &item.row.0)));
    }
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|item| &item.row.1)));
    }
    for hashed in table.hashed {
        params.push(Box::new(rows.iter().map(|item| key_beside(&item.row.1, hashed)).collect::<Vec<_>>()));
    }
    params
}

/// Builds the parameters of [`delete_statement`].
pub(super) fn delete_params<'a>(table: &Table, rows: &[Item<'a, Row>], of: Of) -> Vec<Param<'a>> {
    let mut params = scoped(rows, of);
    for index in 0..table.columns.len() {
        params.push(column(table, index, rows.iter().map(|item| item.row)));
    }
    params
}

/// Lists rows of these parts, each part's in the order of the index that they go into.
pub(super) fn items<'a, R>(
    table: &Table,
    parts: &'a [Part<'a>],
    rows: impl Fn(&'a TableChanges) -> &'a [R],
    row: impl Fn(&'a R) -> &'a Row,
) -> Vec<Item<'a, R>> {
    let mut items = Vec::with_capacity(parts.iter().map(|part| rows(part.changes).len()).sum());
    for of in parts {
        let from = items.len();
        items.extend(rows(of.changes).iter().map(|item| Item { of, key: table.identity(row(item)), row: item }));
        items[from..].sort_unstable_by_key(|item| item.key);
    }
    items
}

/// Writes the statement that receives [`copy_data`].
pub(super) fn copy_statement(table: &Table, leaf: &str) -> String {
    let (columns, since) = (column_list(table, ""), since_list(table));
    format!("COPY {leaf} (tenant_id, generation, row_key, {columns}{since}) FROM STDIN (FORMAT binary)")
}

/// Encodes rows in the server's binary COPY format, in chunks.
pub(super) fn copy_data(table: &Table, rows: &[Item<'_, Row>]) -> Vec<Bytes> {
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
    for Item { of: Part { tenant, generation, since, .. }, key, row } in rows {
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
