//! Statements from a projection's [`Table`], and conversion of its rows: a new projection needs no SQL except its
//! migration.
//!
//! Column order in every statement: tenant, generation, row key, the table's columns, the hashes of its hashed columns.
//! Last come the positions of the rows that these name.

use super::errors::Result;
use super::stretch::stretch;
use crate::since::{Since, naming};
use crate::{KeyedRow, StoreError};
use decisiongraph_projections::{Category, ColumnType, Identity, Row, RowKey, Table, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Statement, ToSql};
use std::fmt::Write as _;

/// Returns the stored identity of a text.
pub(super) fn key_of(text: &str) -> [u8; 16] {
    RowKey::of(text).0
}

/// Creates the error of two texts with the same 128-bit hash, which does not happen by accident.
pub(super) fn collision(what: &str) -> StoreError {
    StoreError::internal(format!("two different values of {what} have the same 128-bit hash"))
}

/// Creates the error of a projection row that differs from the batch's prior state.
pub(super) fn corruption(table: &Table, key: &str) -> StoreError {
    StoreError::new(
        Category::Storage,
        format!("corruption: the row {key:?} of {} is not what this batch was computed from", table.name),
    )
}

fn key_column(table: &Table, column: usize) -> String {
    format!("{}_key", table.columns[column].name)
}

fn since_column(table: &Table, column: usize) -> String {
    format!("{}_since", table.columns[column].name)
}

/// Lists `row_key`, columns, hashes, positions, in the order that [`read_row`] reads.
pub(super) fn select_list(table: &Table) -> String {
    let mut list = String::from("row_key");
    for column in table.columns {
        let _ = write!(list, ", {}", column.name);
    }
    for hashed in table.hashed {
        let _ = write!(list, ", {}", key_column(table, hashed.column));
    }
    for named in naming(table) {
        let _ = write!(list, ", {}", since_column(table, named.column));
    }
    list
}

/// Writes the INSERT of one row. It is plain: the prior state shows that the key is absent. A duplicate is therefore an
/// error and not a choice.
pub(super) fn insert_sql(table: &Table) -> String {
    let count = 3 + table.columns.len() + table.hashed.len() + naming(table).len();
    let marks = (1..=count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {} (tenant_id, generation, {}) VALUES ({marks})", table.name, select_list(table))
}

/// Writes the condition that a row is still exactly `before`. Parameters as in [`insert_sql`], without the hashes.
fn still_before(table: &Table) -> String {
    let mut text = String::from("tenant_id = ?1 AND generation = ?2 AND row_key = ?3");
    for (index, column) in table.columns.iter().enumerate() {
        // IS also for columns that are never null: one shape for all.
        let _ = write!(text, " AND {} IS ?{}", column.name, index + 4);
    }
    text
}

/// Writes the DELETE of one row, if it is still unchanged.
pub(super) fn delete_sql(table: &Table) -> String {
    format!("DELETE FROM {} WHERE {}", table.name, still_before(table))
}

/// Writes the UPDATE of one row, if it is still unchanged. The new values come behind those of [`still_before`]; the
/// canonical key never changes.
pub(super) fn update_sql(table: &Table) -> String {
    let mut next = 4 + table.columns.len();
    let mut set = Vec::new();
    for column in &table.columns[1..] {
        set.push(format!("{} = ?{next}", column.name));
        next += 1;
    }
    for hashed in table.hashed {
        set.push(format!("{} = ?{next}", key_column(table, hashed.column)));
        next += 1;
    }
    set.extend(naming(table).iter().map(|named| format!("{} = 0", since_column(table, named.column))));
    format!("UPDATE {} SET {} WHERE {}", table.name, set.join(", "), still_before(table))
}

/// Writes the look-up of rows by the canonical key (column 0) or by a hashed column.
pub(super) fn lookup_sql(table: &Table, by: usize) -> String {
    let by = if by == 0 { "row_key".to_owned() } else { key_column(table, by) };
    format!("SELECT {} FROM {} WHERE tenant_id = ?1 AND generation = ?2 AND {by} = ?3", select_list(table), table.name)
}

/// Writes the look-up of the text of a canonical key.
pub(super) fn existence_sql(table: &Table) -> String {
    format!(
        "SELECT {} FROM {} WHERE tenant_id = ?1 AND generation = ?2 AND row_key = ?3",
        table.columns[0].name, table.name
    )
}

/// One value as a parameter, borrowed.
pub(super) struct Param<'a>(pub &'a Value);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Int(int) => ValueRef::Integer(*int),
        }))
    }
}

/// Binds tenant and generation to the first two parameters. Bound values stay bound from row to row.
pub(super) fn bind_scope(statement: &mut Statement<'_>, tenant: &str, generation: i64) -> Result<()> {
    statement.raw_bind_parameter(1, tenant)?;
    statement.raw_bind_parameter(2, generation)?;
    Ok(())
}

/// Binds the row key to the third parameter.
pub(super) fn bind_key(statement: &mut Statement<'_>, key: &Identity) -> Result<()> {
    statement.raw_bind_parameter(3, key.as_bytes())?;
    Ok(())
}

/// Binds these columns of a row from parameter `at` on. Returns the next free parameter.
pub(super) fn bind_columns(statement: &mut Statement<'_>, values: &[Value], mut at: usize) -> Result<usize> {
    for value in values {
        statement.raw_bind_parameter(at, Param(value))?;
        at += 1;
    }
    Ok(at)
}

/// Binds the hashes of a row's hashed columns from parameter `at` on. Returns the next free parameter.
pub(super) fn bind_hashes(statement: &mut Statement<'_>, table: &Table, row: &Row, mut at: usize) -> Result<usize> {
    for hashed in table.hashed {
        let text = row.0[hashed.column].as_str().unwrap_or_default();
        statement.raw_bind_parameter(at, hashed.key(text).as_bytes())?;
        at += 1;
    }
    Ok(at)
}

/// Binds the positions of the rows that a row names from parameter `at` on. For a named row that existed before, it is
/// the start of the row's own stretch.
pub(super) fn bind_since(
    statement: &mut Statement<'_>,
    table: &Table,
    row: &Row,
    since: &Since<'_>,
    at: usize,
) -> Result<()> {
    for (named, at) in naming(table).iter().zip(at..) {
        let position = match since.beside(row, named.column) {
            0 => own_stretch(table, &row.0),
            begun => begun,
        };
        statement.raw_bind_parameter(at, position)?;
    }
    Ok(())
}

/// Returns the start of the log's stretch that holds a row which names others.
fn own_stretch(table: &Table, values: &[Value]) -> i64 {
    stretch(values[table.column("log_seq")].as_int().unwrap_or_default())
}

/// Reads a row of [`select_list`], from column `at` on.
pub(super) fn read_row(table: &Table, row: &rusqlite::Row<'_>, at: usize) -> Result<KeyedRow> {
    let key = |index: usize| -> Result<Identity> {
        let stored = row.get_ref(index)?.as_blob().ok().and_then(Identity::from_bytes);
        Ok(stored.ok_or_else(|| {
            StoreError::new(Category::Storage, format!("{}: a stored key is not a row identity", table.name))
        })?)
    };
    let first = at + 1;
    let mut values = Vec::with_capacity(table.columns.len());
    for (index, column) in table.columns.iter().enumerate() {
        values.push(match column.kind {
            ColumnType::Text => Value::Text(row.get(first + index)?),
            ColumnType::OptionalText => Value::from(row.get::<_, Option<String>>(first + index)?),
            ColumnType::Int => Value::Int(row.get(first + index)?),
        });
    }
    let hashes = first + table.columns.len();
    let hashed = (0..table.hashed.len()).map(|index| key(hashes + index)).collect::<Result<_>>()?;
    let positions = hashes + table.hashed.len();
    // The start of its own stretch tells nothing about the named row.
    let position = |index: usize| -> rusqlite::Result<i64> {
        let since = row.get(positions + index)?;
        Ok(if since == own_stretch(table, &values) { 0 } else { since })
    };
    let since = (0..naming(table).len()).map(position).collect::<rusqlite::Result<_>>()?;
    Ok(KeyedRow { key: key(at)?, row: Row(values), hashed, since })
}
