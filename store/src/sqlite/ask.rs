//! The ways to ask on a connection that is already inside a transaction. A statement is prepared once per connection.

use super::errors::Result;
use crate::columns::{Columns, Stored, unreadable};
use crate::{PageLimit, Paged};
use rusqlite::types::{FromSqlResult, ValueRef};
use rusqlite::{Connection, Params, Row, Rows};
use std::borrow::Cow;
use std::ops::Range;

/// Statements of a verb.
pub(super) trait Ask {
    /// Reads all rows of an answer.
    fn all<T: Stored>(&self, sql: &str, of: impl Params) -> Result<Vec<T>>;
    /// Reads the rows of an answer that can be read.
    fn list<T: Stored>(&self, sql: &str, of: impl Params) -> Result<Vec<T>>;
    /// Reads the first row of an answer, if there is one.
    fn first<T: Stored>(&self, sql: &str, of: impl Params) -> Result<Option<T>>;
    /// Reads the one row of an answer.
    fn one<T: Stored>(&self, sql: &str, of: impl Params) -> Result<T>;
    /// Executes a statement and returns the number of its rows.
    fn run(&self, sql: &str, of: impl Params) -> Result<usize>;
    /// Reads the rows of an answer up to a limit. Later rows are not kept. A row for which `read` returns nothing is
    /// left out.
    fn paged<T>(
        &self,
        sql: &str,
        of: impl Params,
        limit: PageLimit,
        read: impl FnMut(&Row<'_>) -> crate::Result<Option<T>>,
    ) -> Result<Paged<T>>;
}

impl Ask for Connection {
    fn all<T: Stored>(&self, sql: &str, of: impl Params) -> Result<Vec<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(of)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(T::read(row)?);
        }
        Ok(all)
    }

    fn list<T: Stored>(&self, sql: &str, of: impl Params) -> Result<Vec<T>> {
        Ok(self.all::<Option<T>>(sql, of)?.into_iter().flatten().collect())
    }

    fn first<T: Stored>(&self, sql: &str, of: impl Params) -> Result<Option<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(of)?;
        Ok(rows.next()?.map(T::read).transpose()?)
    }

    fn one<T: Stored>(&self, sql: &str, of: impl Params) -> Result<T> {
        Ok(self.first(sql, of)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
    }

    fn run(&self, sql: &str, of: impl Params) -> Result<usize> {
        Ok(self.prepare_cached(sql)?.execute(of)?)
    }

    fn paged<T>(
        &self,
        sql: &str,
        of: impl Params,
        limit: PageLimit,
        mut read: impl FnMut(&Row<'_>) -> crate::Result<Option<T>>,
    ) -> Result<Paged<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows: Rows<'_> = statement.query(of)?;
        let (mut page, mut bytes, mut seen) = (Paged::default(), 0, 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            let size = texts_of(row, 0..columns)?;
            if !page.takes(&mut bytes, usize::try_from(size).unwrap_or(usize::MAX), limit) {
                break;
            }
            page.items.extend(read(row)?);
        }
        // Also when rows were left out: the rows behind them are yet to be read.
        page.more |= seen > limit.rows_max;
        Ok(page)
    }
}

/// Counts the bytes of the texts in these columns.
pub(super) fn texts_of(row: &Row<'_>, columns: Range<usize>) -> Result<i64> {
    let mut bytes = 0;
    for column in columns {
        if let ValueRef::Text(text) = row.get_ref(column)? {
            bytes += text.len() as i64;
        }
    }
    Ok(bytes)
}

impl Columns for Row<'_> {
    fn text(&self, at: usize) -> crate::Result<Option<&str>> {
        cell(self, at, |value| value.as_str_or_null())
    }
    fn any_text(&self, at: usize) -> crate::Result<Option<Cow<'_, str>>> {
        // The replacement reads byte by byte, the check in wide steps: nearly every text passes it.
        let lossy = |bytes| std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        Ok(cell(self, at, |value| value.as_bytes_or_null())?.map(lossy))
    }
    fn int(&self, at: usize) -> crate::Result<Option<i64>> {
        cell(self, at, |value| value.as_i64_or_null())
    }
    fn float(&self, at: usize) -> crate::Result<Option<f64>> {
        cell(self, at, |value| value.as_f64_or_null())
    }
    fn flag(&self, at: usize) -> crate::Result<Option<bool>> {
        Ok(self.int(at)?.map(|value| value != 0))
    }
    fn bytes(&self, at: usize) -> crate::Result<Option<&[u8]>> {
        cell(self, at, |value| value.as_blob_or_null())
    }
    fn count(&self) -> usize {
        self.as_ref().column_count()
    }
    fn name(&self, at: usize) -> String {
        self.as_ref().column_name(at).unwrap_or_default().to_owned()
    }
}

fn cell<'r, T>(row: &'r Row<'_>, at: usize, read: impl FnOnce(ValueRef<'r>) -> FromSqlResult<T>) -> crate::Result<T> {
    let value = row.get_ref(at).map_err(|error| unreadable(row, at, error))?;
    read(value).map_err(|error| unreadable(row, at, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::pool::connect;
    use rusqlite::{OpenFlags, StatementStatus};
    use std::time::Duration;

    #[test]
    fn a_statement_is_prepared_once_whatever_its_values() {
        const LOOK_UP: &str = "SELECT b FROM t WHERE a = ?1 AND b = ?2 ORDER BY c DESC LIMIT 1";
        let directory = tempfile::tempdir().expect("a directory");
        let conn = connect(&directory.path().join("t.db"), OpenFlags::default(), Duration::ZERO).expect("a connection");
        let table = "CREATE TABLE t (a INTEGER, b TEXT, c TEXT); CREATE INDEX t_a ON t (a, b, c)";
        conn.execute_batch(table).expect("a table");
        for a in 0..5 {
            conn.execute("INSERT INTO t VALUES (?1, 'b', 'c')", [a]).expect("a row");
            let found: Vec<(String,)> = conn.all(LOOK_UP, (a, "b")).expect("an answer");
            assert_eq!(found, [("b".to_owned(),)]);
        }
        let statement = conn.prepare_cached(LOOK_UP).expect("it is kept");
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
