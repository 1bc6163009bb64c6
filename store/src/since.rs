//! Since when there are the rows that a column names: what a store keeps beside the hash of such a column, so that what is written
//! together lies together in the indexes by which rows are found (ADR 12).
//!
//! The position is that of the named row when one batch wrote both, else 0, which says nothing. So the same row may have one or the
//! other, as the log was cut: it is in no digest, and whoever looks rows up by what they name asks for both.

use decisiongraph_projections::{Changes, Hashed, Row, Table};
use std::collections::HashMap;

/// The columns of a table that name rows of another: beside each stands `{name}_since`.
pub(crate) fn naming(table: &Table) -> &'static [Hashed] {
    if table.naming.is_some() { table.hashed } else { &[] }
}

/// When rows came into being, by key: those that a batch inserts.
pub(crate) struct Since<'a>(HashMap<&'a str, i64>);

impl<'a> Since<'a> {
    /// Of the rows that this table's rows may name, as far as the batch itself inserts them.
    pub fn of(tables: &[Table], table: &Table, changes: &'a Changes) -> Since<'a> {
        let named = table.naming.and_then(|named| tables.get(named).zip(changes.tables.get(named)));
        let begun = named.into_iter().flat_map(|(named, changes)| {
            let at = named.column("log_seq");
            changes.inserts.iter().map(move |row| (row.key(), row.0[at].as_int().unwrap_or_default()))
        });
        Since(begun.collect())
    }

    /// What stands beside this column of a row.
    pub fn beside(&self, row: &Row, column: usize) -> i64 {
        row.0[column].as_str().and_then(|key| self.0.get(key)).copied().unwrap_or_default()
    }
}
