//! Verify: three digests of a projection at one cursor, in one snapshot. One is the stored digest, one is recomputed
//! from the live rows, one is recomputed from the log. An edited row leaves an incremental digest unchanged, so only
//! the recomputed ones find tampering.
//!
//! The log is folded into a scratch store of its own (an embedded file that is deleted afterwards). So nothing in the
//! verified database changes but the row of the run, and memory stays bounded. The two sets are compared row by row, so
//! that the first rows that differ can be named.

use super::claim::claim;
use super::drive::{Ended, Job};
use super::lane::{Lane, Target};
use super::mark::Mark;
use super::report::{DRIFT_ROWS_MAX, DriftRow, SKIPS_NAMED_MAX, ScopeReport, VerifyFacts, scope_report};
use crate::telemetry::Telemetry;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Fetch, Needs, Projection, RowsNeed, Table, TenantId, Value};
use decisiongraph_store::{
    Generation, KeyedRow, Owner, ReadView, Result, RowOrder, RowStream, Scope, Store, StoreError,
};
use futures_util::StreamExt as _;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Verifies these projections against one snapshot.
pub async fn verify(job: &mut Job<'_>, projections: &[&'static dyn Projection]) -> Result<(Ended, Vec<ScopeReport>)> {
    let snapshot = job.store().snapshot().await?;
    let scratch = Scratch::new("verify").await?;
    let mut reports = Vec::with_capacity(projections.len());
    for projection in projections {
        let scope = Scope::new(&job.tenant, *projection);
        let Some(live) = snapshot.scope(&scope).await? else { continue };
        let target = live.position.cursor;
        let mut lanes = [scratch.lane(*projection, &job.tenant, job.engine.owner()).await?];
        lanes[0].skipping(&*snapshot).await?;
        // The snapshot holds everything below its own cursor.
        let mark = Mark { at: target, history: None };
        if job.drive(&mut lanes, &*scratch.store, &*snapshot, &mark).await? == Ended::Cancelled {
            return Ok((Ended::Cancelled, reports));
        }
        let [lane] = lanes;
        let mut report = ScopeReport { generation: live.generation, ..scope_report(&lane, target) };
        if lane.failure.is_none() {
            let both = Both {
                live: (&*snapshot, live.generation),
                log: (&*scratch.store.view().await?, lane.generation()),
                tenant: &job.tenant,
                projection: *projection,
            };
            let compared = both.compare().await?;
            let mut skipped = snapshot.skips(&scope).await?;
            skipped.retain(|skip| skip.log_seq <= target);
            let skipped_total = skipped.len() as u64;
            skipped.truncate(SKIPS_NAMED_MAX);
            let stored = live.position.digest;
            let drifted = stored != compared.from_rows || stored != lane.position.digest || !compared.first.is_empty();
            report.digest = stored.to_text();
            report.verify = Some(VerifyFacts {
                stored: stored.to_text(),
                from_rows: compared.from_rows.to_text(),
                from_log: lane.position.digest.to_text(),
                drifted,
                first: compared.first,
                more: compared.more,
                skipped,
                skipped_total,
            });
        }
        report.seconds = lane.started.elapsed().as_secs_f64();
        reports.push(report);
    }
    Ok((Ended::Reached, reports))
}

/// A store for intermediate results, in a folder that is removed with it.
pub(super) struct Scratch {
    /// Empty store, with its schema.
    pub store: Arc<dyn Store>,
    /// Guard that removes the folder.
    _folder: tempfile::TempDir,
}

impl Scratch {
    /// Creates a scratch store; `purpose` is part of the folder's name. `storage` when there is no place for it.
    pub async fn new(purpose: &str) -> Result<Scratch> {
        let folder =
            tempfile::Builder::new().prefix(&format!("decisiongraph-{purpose}-")).tempdir().map_err(|error| {
                StoreError::new(
                    decisiongraph_projections::Category::Storage,
                    format!("no scratch folder for the {purpose}: {error}; set TMPDIR to a writable folder with space"),
                )
            })?;
        let store = decisiongraph_store::sqlite::scratch(&folder.path().join("fold.db")).await?;
        Ok(Scratch { store, _folder: folder })
    }

    /// Makes a lane that fills the store from the origin of a tenant's log.
    pub async fn lane(&self, projection: &'static dyn Projection, tenant: &TenantId, owner: &Owner) -> Result<Lane> {
        let scope = Scope::new(tenant, projection);
        let (mark, telemetry) = (Mark::default(), Telemetry::default());
        let claim = claim(&*self.store, owner, &scope, projection, &mark, &telemetry).await?;
        let (lease, position) = claim.granted(&scope, projection)?;
        Ok(Lane::new(projection, tenant, Target::Live(lease), position))
    }
}

/// The live rows and the rows that the log gives.
struct Both<'a> {
    live: (&'a dyn ReadView, Generation),
    log: (&'a dyn ReadView, Generation),
    tenant: &'a TenantId,
    projection: &'static dyn Projection,
}

#[derive(Default)]
struct Compared {
    from_rows: RollingDigest,
    first: Vec<DriftRow>,
    more: bool,
}

impl Compared {
    fn differs(&mut self, row: DriftRow) {
        if self.first.len() < DRIFT_ROWS_MAX { self.first.push(row) } else { self.more = true }
    }
}

impl Both<'_> {
    /// Walks both sets in the order of their row keys.
    async fn compare(&self) -> Result<Compared> {
        let mut compared = Compared::default();
        for (index, table) in self.projection.tables().iter().enumerate() {
            let (mut naming, mut naming_bytes) = (Vec::new(), 0);
            let mut live = Rows::open(self.live.0, self.tenant, self.projection, self.live.1, index).await?;
            let mut log = Rows::open(self.log.0, self.tenant, self.projection, self.log.1, index).await?;
            loop {
                let order = match (live.peek().await?, log.peek().await?) {
                    (None, None) => break,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(live), Some(log)) => live.key.cmp(&log.key),
                };
                let live = if order.is_le() { live.take() } else { None };
                let log = if order.is_ge() { log.take() } else { None };
                if let Some(live) = &live {
                    compared.from_rows.add(table, [&live.row]);
                    wrong_hashes(table, live, &mut compared);
                    naming_bytes += live.row.bytes();
                    naming.extend(named(table, live));
                    if naming.len() >= NAMING_MAX || naming_bytes >= NAMING_BYTES_MAX {
                        naming_bytes = 0;
                        self.wrong_since(table, std::mem::take(&mut naming), &mut compared).await?;
                    }
                }
                match (live, log) {
                    (Some(live), Some(log)) => different_columns(table, &live, &log, &mut compared),
                    (Some(live), None) => compared.differs(whole(table, &live, "extra")),
                    (None, Some(log)) => compared.differs(whole(table, &log, "missing")),
                    (None, None) => {}
                }
            }
            self.wrong_since(table, naming, &mut compared).await?;
        }
        Ok(compared)
    }

    /// Checks the positions beside hashes, by which queries look up a row, too. Each must be 0 or the position of the
    /// row that is named.
    async fn wrong_since(&self, table: &Table, naming: Vec<Naming>, compared: &mut Compared) -> Result<()> {
        let Some(named) = table.naming.filter(|_| !naming.is_empty()) else { return Ok(()) };
        let values = naming.iter().map(|naming| Arc::clone(&naming.named)).collect();
        let rows = vec![RowsNeed { values, ..RowsNeed::of(named, 0, Fetch::Rows) }];
        let needs = Arc::new(Needs { rows, ..Needs::default() });
        // As many as rows that are compared, and of the same texts.
        let found = self.log.0.prior_rows(self.tenant, self.projection, self.log.1, &needs, usize::MAX).await?;
        let at = self.projection.tables()[named].column("log_seq");
        let begun: HashMap<&str, Option<i64>> =
            found.iter().flat_map(|found| &found.rows[0]).map(|row| (row.key(), row.0[at].as_int())).collect();
        for Naming { key, column, named, since } in &naming {
            let begun = begun.get(&**named).copied().flatten();
            if begun != Some(*since) {
                let (live, log) = (Some(since.to_string()), begun.map(|begun| begun.to_string()));
                compared.differs(column_of(table, key, format!("{column}_since"), live, log));
            }
        }
        Ok(())
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

/// Checks the hashes beside a row, by which queries look it up: they must be those of its texts.
fn wrong_hashes(table: &Table, row: &KeyedRow, compared: &mut Compared) {
    let expected = table.hashed.iter().map(|hashed| {
        (table.columns[hashed.column].name, hashed.key(row.row.0[hashed.column].as_str().unwrap_or_default()))
    });
    let wrong: Vec<String> = expected
        .zip(&row.hashed)
        .filter(|((_, expected), stored)| expected != *stored)
        .map(|((name, _), _)| format!("{name}_key"))
        .collect();
    for column in wrong {
        compared.differs(column_of(table, row.row.key(), column, Some("not the hash of its text".to_owned()), None));
    }
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
    async fn open(
        view: &dyn ReadView,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
    ) -> Result<Rows> {
        let stream = view.rows(tenant, projection, generation, table, RowOrder::Key).await?;
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
