//! The columns of a stored table, in the database's own order, and the value of each for a row.
//!
//! The floors write into tables with the very columns and indexes that the migrations made, so they ask the database what these
//! are instead of repeating them here.

use anyhow::{Result, bail};
use decisiongraph_projections::{ColumnType, Row, RowKey, Table, Value};

/// Where a stored column's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The tenant: the same in each row.
    Tenant,
    /// The generation: the same in each row.
    Generation,
    /// The 128-bit hash of this column of the row.
    Hash(usize),
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
}

impl Layout {
    /// Recognises the stored columns by their names.
    pub fn new(table: &'static Table, names: Vec<String>) -> Result<Layout> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let of = |name: &str| table.columns.iter().position(|column| column.name == name);
            let origin = match name.as_str() {
                "tenant_id" => Origin::Tenant,
                "generation" => Origin::Generation,
                "row_key" => Origin::Hash(0),
                other => match (of(other), other.strip_suffix("_key").and_then(of)) {
                    (Some(column), _) => Origin::Column(column),
                    (None, Some(column)) => Origin::Hash(column),
                    (None, None) => bail!("{}.{other} is a column that the benchmark does not know", table.name),
                },
            };
            columns.push((name, origin));
        }
        Ok(Layout { table, columns })
    }

    /// The stored columns whose value differs from row to row.
    pub fn varying(&self) -> impl Iterator<Item = (&str, Origin)> {
        let columns = self.columns.iter().map(|(name, origin)| (name.as_str(), *origin));
        columns.filter(|(_, origin)| matches!(origin, Origin::Hash(_) | Origin::Column(_)))
    }

    /// The hash of a column of a row.
    pub fn hash(row: &Row, column: usize) -> [u8; 16] {
        RowKey::of(row.0[column].as_str().unwrap_or_default()).0
    }

    /// Whether this column of the table is an integer.
    pub fn is_int(&self, column: usize) -> bool {
        self.table.columns[column].kind == ColumnType::Int
    }

    /// A text value; none when null.
    pub fn text(row: &Row, column: usize) -> Option<&str> {
        row.0[column].as_str()
    }

    /// An integer value.
    pub fn int(row: &Row, column: usize) -> i64 {
        match &row.0[column] {
            Value::Int(int) => *int,
            _ => 0,
        }
    }
}

/// Sorts rows by their row keys, the order in which indexes like them.
pub fn sort_by_key(rows: &mut [&Row]) {
    rows.sort_by_cached_key(|row| RowKey::of(row.key()));
}
