//! Creation positions of the rows that a column names. A store keeps them beside the hash of such a column. Rows
//! written together then lie together in the look-up indexes (ADR 12).
//!
//! The position is that of the named row when one batch wrote both, else 0, which means nothing. The same row may
//! therefore have one or the other, depending on the batches. The position is in no digest, and a look-up by named rows
//! asks for both.

use decisiongraph_projections::{Changes, Hashed, Row, Table};
use std::collections::HashMap;

/// Returns the columns of a table that name rows of another table: beside each there is a column `{name}_since`.
pub(crate) fn naming(table: &Table) -> &'static [Hashed] {
    if table.naming.is_some() { table.hashed } else { &[] }
}

/// Creation positions of rows, by key: the rows that a batch inserts.
pub(crate) struct Since<'a>(HashMap<&'a str, i64>);

impl<'a> Since<'a> {
    /// Collects the rows that this table's rows may name, as far as the batch itself inserts them.
    pub fn of(tables: &[Table], table: &Table, changes: &'a Changes) -> Since<'a> {
        let named = table.naming.and_then(|named| tables.get(named).zip(changes.tables.get(named)));
        let begun = named.into_iter().flat_map(|(named, changes)| {
            let at = named.column("log_seq");
            changes.inserts.iter().map(move |row| (row.key(), row.0[at].as_int().unwrap_or_default()))
        });
        Since(begun.collect())
    }

    /// Returns the position beside this column of a row.
    pub fn beside(&self, row: &Row, column: usize) -> i64 {
        row.0[column].as_str().and_then(|key| self.0.get(key)).copied().unwrap_or_default()
    }
}
