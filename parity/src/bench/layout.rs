//! The columns of a stored table, in the database's own order, and the value of each column for a row.
//!
//! The floors write into tables with the very columns and indexes that the migrations made. So they ask the database
//! for these, instead of repeating them here.

use super::folded::SinceByKey;
use anyhow::{Context as _, Result, bail};
use decisiongraph_projections::{ColumnType, Identity, Row, Table, Value};
use std::sync::Arc;

/// Source of a stored column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The tenant: the same in each row.
    Tenant,
    /// The generation: the same in each row.
    Generation,
    /// Key by which rows with this text in this column are looked up; column 0 is the canonical key.
    Key(usize),
    /// Position since which the row exists that the hashed column with this number names, if its own batch wrote it.
    Since(usize),
    /// This column of the row.
    Column(usize),
}

/// A stored table.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The projection's table.
    pub table: &'static Table,
    /// Stored columns: name, origin.
    pub columns: Vec<(String, Origin)>,
    since: Arc<SinceByKey>,
}

impl Layout {
    /// Recognises the stored columns by their names.
    pub fn new(table: &'static Table, names: Vec<String>, since: &Arc<SinceByKey>) -> Result<Layout> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let of = |name: &str| table.columns.iter().position(|column| column.name == name);
            let origin = match name.as_str() {
                "tenant_id" => Origin::Tenant,
                "generation" => Origin::Generation,
                "row_key" => Origin::Key(0),
                other => match (
                    of(other),
                    other.strip_suffix("_key").and_then(of),
                    other.strip_suffix("_since").and_then(of),
                ) {
                    (Some(column), ..) => Origin::Column(column),
                    (None, Some(column), _) => Origin::Key(column),
                    (None, None, Some(column)) => {
                        let number = table.hashed.iter().position(|hashed| hashed.column == column);
                        Origin::Since(number.with_context(|| format!("{}.{other} is beside no key", table.name))?)
                    }
                    _ => bail!("{}.{other} is a column that the benchmark does not know", table.name),
                },
            };
            columns.push((name, origin));
        }
        Ok(Layout { table, columns, since: Arc::clone(since) })
    }

    /// Returns the stored columns whose value differs from row to row.
    pub fn varying(&self) -> impl Iterator<Item = (&str, Origin)> {
        let columns = self.columns.iter().map(|(name, origin)| (name.as_str(), *origin));
        columns.filter(|(_, origin)| !matches!(origin, Origin::Tenant | Origin::Generation))
    }

    /// Returns the position since which the row exists that this hashed column names; 0 when another batch wrote it.
    pub fn since(&self, row: &Row, number: usize) -> i64 {
        self.since.get(row.key()).map_or(0, |since| since[number])
    }

    /// Returns the key by which a row is found: its identity, or the key beside a column.
    pub fn key(&self, row: &Row, column: usize) -> Identity {
        match column {
            0 => self.table.identity(row),
            _ => self.table.key_of(column, row.0[column].as_str().unwrap_or_default()),
        }
    }

    /// True when the keys of this column have a place before the hash.
    pub fn placed(&self, column: usize) -> bool {
        self.table.hashed.iter().find(|hashed| hashed.column == column).is_none_or(|hashed| hashed.place.is_some())
    }

    /// True when this column of the table is an integer.
    pub fn is_int(&self, column: usize) -> bool {
        self.table.columns[column].kind == ColumnType::Int
    }

    /// Returns a text value; none for null.
    pub fn text(row: &Row, column: usize) -> Option<&str> {
        row.0[column].as_str()
    }

    /// Returns an integer value.
    pub fn int(row: &Row, column: usize) -> i64 {
        match &row.0[column] {
            Value::Int(int) => *int,
            _ => 0,
        }
    }
}

/// Sorts rows by their row keys, the order that suits indexes.
pub fn sort_by_key(table: &Table, rows: &mut [&Row]) {
    rows.sort_by_cached_key(|row| table.identity(row));
}
