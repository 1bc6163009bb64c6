//! A log folded in memory: per projection, the changes of each batch and the rows at the end. The floors write exactly
//! the rows that the runtime writes, but already computed.

use decisiongraph_projections::catalogue;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{
    Admitted, Changes, Fetch, Hashed, LogEvent, LogSeq, Needs, Prior, Projected, Projection, Recalled, Row, RowsNeed,
    Table, TableChanges,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Positions by canonical key, one entry per hashed column that names a row of another table. The entry is the
/// `log_seq` of the named row where the same batch wrote both, else 0.
pub type SinceByKey = hashbrown::HashMap<String, Vec<i64>>;

/// Folded log of one projection.
pub struct FoldedProjection {
    /// Rules of the projection.
    pub projection: &'static dyn Projection,
    /// Changes of each batch.
    pub batches: Vec<Changes>,
    /// Rows at the end, by table, in the order of their row keys.
    pub rows: Vec<Vec<Row>>,
    /// Positions since which the rows exist that its rows name.
    pub since: Arc<SinceByKey>,
    /// Rolling digest at the end.
    pub digest: RollingDigest,
    /// Time that keeping this digest up to date took.
    pub digest_time: Duration,
}

/// Folds events with `log_seq` 1, 2, …, cut into batches of this size.
pub fn fold(events: &[Admitted], batch_events: usize) -> Vec<FoldedProjection> {
    let log: Vec<LogEvent> = (1..).zip(events).map(|(log_seq, event)| LogEvent::of(LogSeq(log_seq), event)).collect();
    catalogue::ALL.into_iter().map(|projection| fold_one(projection, &log, batch_events)).collect()
}

fn fold_one(projection: &'static dyn Projection, log: &[LogEvent], batch_events: usize) -> FoldedProjection {
    let mut memory = Memory::new(projection);
    let mut batches = Vec::with_capacity(log.len() / batch_events + 1);
    let mut history: HashMap<&str, Vec<&LogEvent>> = HashMap::new();
    let mut digest = RollingDigest::default();
    let mut digest_time = Duration::ZERO;
    let mut since = SinceByKey::new();
    for batch in log.chunks(batch_events) {
        let needs = projection.needs(batch);
        let mut prior = memory.answer(&needs);
        for trace in &needs.history_of {
            let of_trace = history.get(&**trace).into_iter().flatten().map(|event| Recalled::of(projection, event));
            prior.history.insert(Arc::clone(trace), of_trace.collect());
        }
        let Projected { changes, poison } = projection.project(batch, &needs, &prior);
        assert_eq!(poison, None, "{} takes every event that an append takes", projection.name());
        let started = Instant::now();
        digest.apply(projection.tables(), &changes);
        digest_time += started.elapsed();
        memory.apply(&changes);
        note_since(projection.tables(), &changes, &mut since);
        for event in batch.iter().filter(|event| projection.history_types().contains(&&*event.event_type)) {
            history.entry(&event.trace_id).or_default().push(event);
        }
        batches.push(changes);
    }
    FoldedProjection { projection, batches, rows: memory.into_rows(), since: Arc::new(since), digest, digest_time }
}

fn note_since(tables: &[Table], changes: &Changes, since: &mut SinceByKey) {
    for (table, inserts) in tables.iter().zip(changes.tables.iter().map(|changes| &changes.inserts)) {
        let Some(named) = table.naming else { continue };
        let at = tables[named].column("log_seq");
        let written: HashMap<&str, i64> = changes.tables[named]
            .inserts
            .iter()
            .map(|row| (row.key(), row.0[at].as_int().unwrap_or_default()))
            .collect();
        for row in inserts {
            let named =
                |hashed: &Hashed| row.0[hashed.column].as_str().and_then(|key| written.get(key)).copied().unwrap_or(0);
            since.insert(row.key().to_owned(), table.hashed.iter().map(named).collect());
        }
    }
}

/// Rows of a projection, with the keys of the rows by value of each looked-up column.
struct Memory {
    projection: &'static dyn Projection,
    rows: Vec<HashMap<String, Row>>,
    by_value: HashMap<(usize, usize), HashMap<String, HashSet<String>>>,
}

impl Memory {
    fn new(projection: &'static dyn Projection) -> Memory {
        let mut by_value = HashMap::new();
        for (index, table) in projection.tables().iter().enumerate() {
            by_value.extend(table.hashed.iter().map(|hashed| ((index, hashed.column), HashMap::new())));
        }
        Memory { projection, rows: projection.tables().iter().map(|_| HashMap::new()).collect(), by_value }
    }

    fn answer(&self, needs: &Needs) -> Prior {
        let mut prior = Prior::empty(needs);
        for (index, need) in needs.rows.iter().enumerate() {
            let found = need.values.iter().flat_map(|value| self.find(need, value));
            match need.fetch {
                Fetch::Existence => prior.existing[index] = found.map(|row| row.key().into()).collect(),
                Fetch::Rows => prior.rows[index] = found.cloned().collect(),
            }
        }
        prior
    }

    fn find<'m>(&'m self, need: &RowsNeed, value: &str) -> Vec<&'m Row> {
        let rows = &self.rows[need.table];
        if need.by == 0 {
            return rows.get(value).into_iter().collect();
        }
        let keys = self.by_value.get(&(need.table, need.by)).and_then(|values| values.get(value));
        keys.into_iter().flatten().filter_map(|key| rows.get(key)).collect()
    }

    fn apply(&mut self, changes: &Changes) {
        for (table, TableChanges { inserts, updates, deletes }) in changes.tables.iter().enumerate() {
            for row in deletes.iter().chain(updates.iter().map(|(before, _)| before)) {
                self.index(table, row, false);
                self.rows[table].remove(row.key());
            }
            for row in inserts.iter().chain(updates.iter().map(|(_, after)| after)) {
                self.index(table, row, true);
                self.rows[table].insert(row.key().to_owned(), row.clone());
            }
        }
    }

    fn index(&mut self, table: usize, row: &Row, there: bool) {
        for Hashed { column, .. } in self.projection.tables()[table].hashed {
            let value = row.0[*column].as_str().unwrap_or_default();
            let keys = self.by_value.entry((table, *column)).or_default().entry(value.to_owned()).or_default();
            if there {
                keys.insert(row.key().to_owned())
            } else {
                keys.remove(row.key())
            };
        }
    }

    fn into_rows(self) -> Vec<Vec<Row>> {
        let sorted = |(table, rows): (&Table, HashMap<String, Row>)| -> Vec<Row> {
            let rows = rows.into_values().map(|row| (table.identity(&row), row));
            rows.collect::<BTreeMap<_, _>>().into_values().collect()
        };
        self.projection.tables().iter().zip(self.rows).map(sorted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Profile, Workload};

    #[test]
    fn the_fold_does_not_depend_on_the_batches() {
        let events: Vec<Admitted> = Workload::new(Profile::Mixed, 9, 700, 0)
            .map(|line| crate::check::trial::read(&line).expect("legal"))
            .collect();
        let (whole, cut) = (fold(&events, 1_000), fold(&events, 13));
        for (whole, cut) in whole.iter().zip(&cut) {
            assert_eq!(whole.rows, cut.rows);
            assert_eq!(whole.digest, cut.digest);
            assert_eq!(cut.batches.len(), 54);
        }
    }
}
