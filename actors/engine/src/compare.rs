//! Rows of a projection: a scan of one side, and a comparison of two, the live rows and those of the log.
//!
//! *Guarantees.* Memory is bounded by a few chunks of rows. A scan finds every fault that a comparison finds, except
//! that it names none; what its digest says needs another digest beside it.

use super::pace::Pace;
use super::page::pure;
use super::report::{DRIFT_ROWS_MAX, DriftRow};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Fetch, Identity, Needs, Projection, RowsNeed, Table, TenantId, Value};
use decisiongraph_store::{Generation, KeyedRow, ReadView, Result, RowOrder, RowStream};
use futures_util::StreamExt as _;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// The rows of a generation.
pub(super) struct Side<'a> {
    /// Source of the rows.
    pub view: &'a dyn ReadView,
    /// Tenant of the rows.
    pub tenant: &'a TenantId,
    /// Projection of the rows.
    pub projection: &'static dyn Projection,
    /// Generation of the rows.
    pub generation: Generation,
}

/// Rows that differ.
#[derive(Default)]
pub(super) struct Compared {
    /// First ones, in the order in which they were met.
    pub first: Vec<DriftRow>,
    /// True when there are more.
    pub more: bool,
}

impl Compared {
    fn differs(&mut self, row: DriftRow) {
        if self.first.len() < DRIFT_ROWS_MAX { self.first.push(row) } else { self.more = true }
    }
}

/// Result of a scan.
pub(super) struct Scan {
    /// Digest of the rows.
    pub digest: RollingDigest,
    /// True when the rows are a set, with the hashes and positions that belong to them.
    pub sound: bool,
    /// Key of the last row.
    last: Option<Identity>,
}

impl Scan {
    /// Takes the next rows. Returns which of them name others.
    fn take(&mut self, table: &Table, rows: &[KeyedRow]) -> Vec<Naming> {
        self.digest.add(table, rows.iter().map(|row| &row.row));
        for row in rows {
            let (key, last) = (table.identity(&row.row), self.last.replace(row.key));
            self.sound &=
                row.key == key && last.is_none_or(|last| last < key) && wrong_hashes(table, row).next().is_none();
        }
        rows.iter().flat_map(|row| named(table, row)).collect()
    }
}

impl Side<'_> {
    /// Reads all rows once. Each chunk is hashed while the next one is read.
    pub async fn scan(&self, pace: Option<&Pace>) -> Result<Scan> {
        let mut scan = Scan { digest: RollingDigest::default(), sound: true, last: None };
        for (index, table) in self.projection.tables().iter().enumerate() {
            let mut rows = self.view.rows(self.tenant, self.projection, self.generation, index, RowOrder::Key).await?;
            scan.last = None;
            while let Some(chunk) = rows.next().await {
                let chunk = chunk?;
                let rows_read = chunk.len() as u64;
                let naming;
                (scan, naming) = pure(move || {
                    let naming = scan.take(table, &chunk);
                    (scan, naming)
                })
                .await?;
                scan.sound &= self.wrong_since(table, &naming).await?.is_empty();
                if let Some(pace) = pace {
                    pace.took(rows_read).await;
                }
            }
        }
        Ok(scan)
    }

    /// Walks these rows and those of the log, in the order of their keys.
    pub async fn compare(&self, log: &Side<'_>) -> Result<Compared> {
        let mut compared = Compared::default();
        for (index, table) in self.projection.tables().iter().enumerate() {
            let (mut naming, mut naming_bytes) = (Vec::new(), 0);
            let (mut live_rows, mut log_rows) = (Rows::open(self, index).await?, Rows::open(log, index).await?);
            loop {
                let order = match (live_rows.peek().await?, log_rows.peek().await?) {
                    (None, None) => break,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(live), Some(log)) => live.key.cmp(&log.key),
                };
                let live = if order.is_le() { live_rows.take() } else { None };
                let of_log = if order.is_ge() { log_rows.take() } else { None };
                if let Some(live) = &live {
                    for name in wrong_hashes(table, live) {
                        let (column, text) = (format!("{name}_key"), "not the hash of its text".to_owned());
                        compared.differs(column_of(table, live.row.key(), column, Some(text), None));
                    }
                    naming_bytes += live.row.bytes();
                    naming.extend(named(table, live));
                    if naming.len() >= NAMING_MAX || naming_bytes >= NAMING_BYTES_MAX {
                        naming_bytes = 0;
                        let naming = std::mem::take(&mut naming);
                        log.wrong_since(table, &naming).await?.into_iter().for_each(|row| compared.differs(row));
                    }
                }
                match (live, of_log) {
                    (Some(live), Some(of_log)) => different_columns(table, &live, &of_log, &mut compared),
                    (Some(live), None) => compared.differs(whole(table, &live, "extra")),
                    (None, Some(of_log)) => compared.differs(whole(table, &of_log, "missing")),
                    (None, None) => {}
                }
            }
            log.wrong_since(table, &naming).await?.into_iter().for_each(|row| compared.differs(row));
        }
        Ok(compared)
    }

    /// Checks the positions beside hashes, by which queries look up a row, too. Each must be 0 or the position of the
    /// row that is named, on this side.
    async fn wrong_since(&self, table: &Table, naming: &[Naming]) -> Result<Vec<DriftRow>> {
        let Some(named) = table.naming.filter(|_| !naming.is_empty()) else { return Ok(Vec::new()) };
        let values = naming.iter().map(|naming| Arc::clone(&naming.named)).collect();
        let rows = vec![RowsNeed { values, ..RowsNeed::of(named, 0, Fetch::Rows) }];
        let needs = Arc::new(Needs { rows, ..Needs::default() });
        // As many as rows that are compared, and of the same texts.
        let found = self.view.prior_rows(self.tenant, self.projection, self.generation, &needs, usize::MAX).await?;
        let at = self.projection.tables()[named].column("log_seq");
        let begun: HashMap<&str, Option<i64>> =
            found.iter().flat_map(|found| &found.rows[0]).map(|row| (row.key(), row.0[at].as_int())).collect();
        let mut wrong = Vec::new();
        for Naming { key, column, named, since } in naming {
            let begun = begun.get(&**named).copied().flatten();
            if begun != Some(*since) {
                let (live, log) = (Some(since.to_string()), begun.map(|begun| begun.to_string()));
                wrong.push(column_of(table, key, format!("{column}_since"), live, log));
            }
        }
        Ok(wrong)
    }
}

/// A row that names another, and the position that is stored for that other row.
struct Naming {
    key: Arc<str>,
    column: &'static str,
    named: Arc<str>,
    since: i64,
}

/// Most rows whose named rows are looked up at once.
const NAMING_MAX: usize = 2_000;
/// Most bytes of these rows.
const NAMING_BYTES_MAX: usize = 1024 * 1024;

/// Lists the rows that a row names and stores a position of.
fn named(table: &Table, row: &KeyedRow) -> impl Iterator<Item = Naming> {
    let since = table.hashed.iter().zip(&row.since).filter(|(_, since)| **since != 0);
    since.filter_map(|(hashed, since)| match &row.row.0[hashed.column] {
        Value::Text(named) => Some(Naming {
            key: row.row.shared_key(),
            column: table.columns[hashed.column].name,
            named: Arc::clone(named),
            since: *since,
        }),
        _ => None,
    })
}

fn whole(table: &Table, row: &KeyedRow, kind: &str) -> DriftRow {
    DriftRow {
        table: table.name.to_owned(),
        key: row.row.key().to_owned(),
        column: None,
        live: None,
        log: None,
        kind: kind.to_owned(),
    }
}

fn column_of(table: &Table, key: &str, column: String, live: Option<String>, log: Option<String>) -> DriftRow {
    let (table, key, kind) = (table.name.to_owned(), key.to_owned(), "differs".to_owned());
    DriftRow { table, key, column: Some(column), live, log, kind }
}

fn different_columns(table: &Table, live: &KeyedRow, log: &KeyedRow, compared: &mut Compared) {
    for ((column, live_value), log_value) in table.columns.iter().zip(&live.row.0).zip(&log.row.0) {
        if live_value != log_value {
            let (live, log_value) = (shown(live_value), shown(log_value));
            compared.differs(column_of(table, log.row.key(), column.name.to_owned(), live, log_value));
        }
    }
}

/// Lists the columns of a row whose hash beside them, by which queries look it up, is not that of their text.
fn wrong_hashes(table: &Table, row: &KeyedRow) -> impl Iterator<Item = &'static str> {
    let hashed = table.hashed.iter().zip(&row.hashed);
    let wrong =
        hashed.filter(|(hashed, stored)| hashed.key(row.row.0[hashed.column].as_str().unwrap_or_default()) != **stored);
    wrong.map(|(hashed, _)| table.columns[hashed.column].name)
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.to_string()),
        Value::Int(int) => Some(int.to_string()),
    }
}

/// The rows of one side, one at a time.
struct Rows {
    stream: RowStream,
    chunk: std::vec::IntoIter<KeyedRow>,
    next: Option<KeyedRow>,
}

impl Rows {
    async fn open(side: &Side<'_>, table: usize) -> Result<Rows> {
        let stream = side.view.rows(side.tenant, side.projection, side.generation, table, RowOrder::Key).await?;
        Ok(Rows { stream, chunk: Vec::new().into_iter(), next: None })
    }

    async fn peek(&mut self) -> Result<Option<&KeyedRow>> {
        while self.next.is_none() {
            match self.chunk.next() {
                Some(row) => self.next = Some(row),
                None => match self.stream.next().await {
                    Some(chunk) => self.chunk = chunk?.into_iter(),
                    None => break,
                },
            }
        }
        Ok(self.next.as_ref())
    }

    fn take(&mut self) -> Option<KeyedRow> {
        self.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::{Row, catalogue};

    #[test]
    fn rows_that_are_no_set_are_found_though_their_copies_leave_the_digest_as_it_was() {
        let table = &catalogue::TRACE_SUMMARY.tables()[0];
        let row = |trace: &str| {
            let row = Row(table.columns.iter().map(|_| Value::from(trace)).collect());
            KeyedRow { key: table.identity(&row), row, hashed: Vec::new(), since: Vec::new() }
        };
        let scan = |rows: &[KeyedRow]| {
            let mut scan = Scan { digest: RollingDigest::default(), sound: true, last: None };
            scan.take(table, rows);
            scan
        };
        let mut rows = vec![row("trace-1"), row("trace-2")];
        rows.sort_by_key(|row| row.key);
        let set = scan(&rows);
        assert!(set.sound);
        let copies = std::iter::repeat_n(&rows[1], usize::from(u16::MAX) + 1);
        let copied = scan(&rows.iter().chain(copies).cloned().collect::<Vec<_>>());
        assert_eq!((copied.digest, copied.sound), (set.digest, false));
    }
}
