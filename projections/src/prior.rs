//! The prior state of a batch: what a projection asks for ([`Needs`]), what the caller brought ([`Prior`]), and the
//! working copy that a fold changes ([`Working`]).

use crate::event::LogEvent;
use crate::rows::{Changes, Row, Table, TableChanges};
use std::collections::{BTreeSet, HashMap};

/// How much of a needed row is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Only whether it exists.
    Existence,
    /// All of it.
    Rows,
}

/// Rows of one table that a batch must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsNeed {
    /// Table index in [`crate::Projection::tables`].
    pub table: usize,
    /// Column index looked up by: 0 (the canonical key) or one of [`Table::hashed`].
    pub by: usize,
    /// How much is wanted. [`Fetch::Existence`] goes with `by` 0 only.
    pub fetch: Fetch,
    /// The values looked for.
    pub values: BTreeSet<String>,
}

/// What a batch must know before it can be projected. A pure function of its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rows of the projection's own tables. At most one entry a (table, column).
    pub rows: Vec<RowsNeed>,
    /// Event types of [`Needs::history_of`].
    pub history_types: Vec<&'static str>,
    /// Traces whose events of those types, from origin to just before the batch, are wanted.
    pub history_of: BTreeSet<String>,
}

/// The answers to a [`Needs`].
#[derive(Debug, Clone, Default)]
pub struct Prior {
    /// Per entry of [`Needs::rows`], in the same order: canonical keys found ([`Fetch::Existence`]).
    /// Rows found ([`Fetch::Rows`]) are in `rows`.
    pub existing: Vec<BTreeSet<String>>,
    /// Per entry of [`Needs::rows`], in the same order: the rows found.
    pub rows: Vec<Vec<Row>>,
    /// By trace id: the wanted events, in `log_seq` order.
    pub history: HashMap<String, Vec<LogEvent>>,
}

impl Prior {
    /// The answer for a batch that needs nothing, or from origin: nothing exists yet.
    pub fn empty(needs: &Needs) -> Prior {
        Prior {
            existing: vec![BTreeSet::new(); needs.rows.len()],
            rows: vec![Vec::new(); needs.rows.len()],
            history: HashMap::new(),
        }
    }
}

enum Before {
    Absent,
    Exists,
    Row(Row),
}

struct Slot {
    before: Before,
    now: Option<Row>,
}

/// The rows of one table that a batch works on: prior state below, changes on top.
pub struct Working {
    slots: HashMap<String, Slot>,
    /// Keys in the order in which the batch first touched them.
    touched: Vec<String>,
}

impl Working {
    /// The working copy of table `table`, out of what was asked for and what was found.
    pub fn new(needs: &Needs, prior: &Prior, table: usize) -> Working {
        let mut slots = HashMap::new();
        for (index, need) in needs.rows.iter().enumerate().filter(|(_, need)| need.table == table) {
            for key in &prior.existing[index] {
                slots.insert(key.clone(), Slot { before: Before::Exists, now: None });
            }
            for row in &prior.rows[index] {
                let slot = Slot { before: Before::Row(row.clone()), now: Some(row.clone()) };
                slots.insert(row.key().to_owned(), slot);
            }
            debug_assert!(need.fetch == Fetch::Rows || need.by == 0, "existence is asked by key");
        }
        Working { slots, touched: Vec::new() }
    }

    /// Inserts the row unless its key exists: first write wins.
    pub fn insert_if_absent(&mut self, key: &str, row: impl FnOnce() -> Row) {
        match self.slots.get_mut(key) {
            None => {
                self.touched.push(key.to_owned());
                self.slots.insert(key.to_owned(), Slot { before: Before::Absent, now: Some(row()) });
            }
            Some(slot) => {
                if slot.now.is_none() && !matches!(slot.before, Before::Exists) {
                    slot.now = Some(row());
                }
            }
        }
    }

    /// The row with this key, as of now.
    pub fn get(&self, key: &str) -> Option<&Row> {
        self.slots.get(key)?.now.as_ref()
    }

    /// Inserts or replaces the row.
    pub fn put(&mut self, row: Row) {
        let key = row.key().to_owned();
        self.touched.push(key.clone());
        match self.slots.get_mut(&key) {
            Some(slot) => slot.now = Some(row),
            None => {
                self.slots.insert(key, Slot { before: Before::Absent, now: Some(row) });
            }
        }
    }

    /// Removes the row with this key, if there is one.
    pub fn remove(&mut self, key: &str) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.now = None;
            self.touched.push(key.to_owned());
        }
    }

    /// What changed.
    pub fn into_changes(mut self) -> TableChanges {
        let mut changes = TableChanges::default();
        for key in self.touched {
            // A key may have been touched twice; the first visit takes the slot.
            let Some(slot) = self.slots.remove(&key) else { continue };
            match (slot.before, slot.now) {
                (Before::Absent, Some(now)) => changes.inserts.push(now),
                (Before::Row(before), Some(now)) if before != now => changes.updates.push((before, now)),
                (Before::Row(before), None) => changes.deletes.push(before),
                _ => {}
            }
        }
        changes
    }
}

/// Gathers the changes of several working tables.
pub fn changes_of(tables: &'static [Table], working: Vec<Working>) -> Changes {
    debug_assert_eq!(tables.len(), working.len());
    Changes { tables: working.into_iter().map(Working::into_changes).collect() }
}
