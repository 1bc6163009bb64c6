//! The prior state of a batch: the projection's requests ([`Needs`]), the caller's answers ([`Prior`]), and the working
//! copy that a fold changes ([`Working`]).

use crate::category::Refusal;
use crate::event::LogSeq;
use crate::rows::{Changes, Row, Table, TableChanges, Value};
use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// A set of texts, in no order.
pub type Texts = HashSet<Arc<str>>;

/// Returns one shared copy of this text for all users of `texts`.
pub fn shared(texts: &mut Texts, text: &str) -> Arc<str> {
    Arc::clone(texts.get_or_insert_with(text, |text| Arc::from(text)))
}

/// Amount of a needed row that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Only its existence.
    Existence,
    /// The whole row.
    Rows,
}

/// Rows of one table that a batch must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsNeed {
    /// Table index in [`crate::Projection::tables`].
    pub table: usize,
    /// Column index for the look-up: 0 (the canonical key) or one of [`Table::hashed`].
    pub by: usize,
    /// Amount to fetch. [`Fetch::Existence`] requires `by` 0.
    pub fetch: Fetch,
    /// Values to look up.
    pub values: Texts,
    /// Values that the batch itself creates, as far as the batch shows. They are absent, unless an id was spelled
    /// twice. A caller that assumes them absent must notice when one is not. Here such a value is inserted, and nothing
    /// else depends on it.
    pub fresh: Vec<Arc<str>>,
}

impl RowsNeed {
    /// Creates a need without values.
    pub fn of(table: usize, by: usize, fetch: Fetch) -> RowsNeed {
        RowsNeed { table, by, fetch, values: Texts::new(), fresh: Vec::new() }
    }
}

/// Prior state that a batch requires before it can be projected. A pure function of its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rows of the projection's own tables. At most one entry per (table, column).
    pub rows: Vec<RowsNeed>,
    /// Traces whose earlier events are needed: events of [`crate::Projection::history_types`], from the origin to just
    /// before the batch.
    pub history_of: BTreeSet<Arc<str>>,
    /// Results of reading the events; the projection need not read them again.
    pub carried: Carried,
}

/// Data that [`crate::Projection::needs`] passes to [`crate::Projection::project`] of the same events. Its form is the
/// projection's own. It saves work and decides nothing: without it `project` gives the same result. All values compare
/// as equal.
#[derive(Clone, Default)]
pub struct Carried(Option<Arc<dyn Any + Send + Sync>>);

impl Carried {
    /// Carries one `T` per event.
    pub fn of<T: Send + Sync + 'static>(read: Vec<T>) -> Carried {
        Carried(Some(Arc::new(read)))
    }

    /// Returns the carried values if they are of this type and of this number of events.
    pub fn get<T: 'static>(&self, events: usize) -> Option<&[T]> {
        self.0.as_ref()?.downcast_ref::<Vec<T>>().map(Vec::as_slice).filter(|read| read.len() == events)
    }
}

impl PartialEq for Carried {
    fn eq(&self, _: &Carried) -> bool {
        true
    }
}
impl Eq for Carried {}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Carried")
    }
}

/// The part of an earlier event that a projection keeps. It is small, however large the event is: a trace has as many
/// events as its producer likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Position in the log.
    pub log_seq: LogSeq,
    /// Id of the event, unique in its tenant.
    pub event_id: Arc<str>,
    /// Type of the event: one of [`crate::Projection::history_types`].
    pub event_type: Arc<str>,
    /// Members that [`crate::Projection::recall`] read, or the reason why they cannot be read.
    pub members: Result<Vec<Value>, Refusal>,
}

impl Recalled {
    /// Estimates the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let members = match &self.members {
            Ok(members) => members.iter().map(Value::bytes).sum(),
            Err(refusal) => refusal.message.len(),
        };
        self.event_id.len() + self.event_type.len() + members
    }
}

/// Answers to a [`Needs`].
#[derive(Debug, Clone, Default)]
pub struct Prior {
    /// Canonical keys found ([`Fetch::Existence`]), per entry of [`Needs::rows`], in the same order. Rows found
    /// ([`Fetch::Rows`]) are in `rows`.
    pub existing: Vec<Texts>,
    /// Rows found, per entry of [`Needs::rows`], in the same order.
    pub rows: Vec<Vec<Row>>,
    /// Kept parts of the needed events by trace id, in `log_seq` order.
    pub history: HashMap<Arc<str>, Vec<Recalled>>,
}

impl Prior {
    /// Creates the answer for a batch that needs nothing, or that starts at the origin: nothing exists yet.
    pub fn empty(needs: &Needs) -> Prior {
        Prior {
            existing: vec![Texts::new(); needs.rows.len()],
            rows: vec![Vec::new(); needs.rows.len()],
            history: HashMap::new(),
        }
    }

    /// Turns this into the prior state *behind* a batch that is on its way to the database. It does not matter if the
    /// read already saw the batch. For a row that the batch touched, the batch is right. For any other row, the read is
    /// right before and after the batch.
    pub fn overlay(&mut self, needs: &Needs, changes: &Changes) {
        for (index, need) in needs.rows.iter().enumerate() {
            let Some(TableChanges { inserts, updates, deletes }) = changes.tables.get(need.table) else { continue };
            let written = || inserts.iter().chain(updates.iter().map(|(_, after)| after));
            if need.fetch == Fetch::Existence {
                for gone in deletes {
                    self.existing[index].remove(gone.key());
                }
                let asked = written().filter(|row| need.values.contains(row.key()));
                self.existing[index].extend(asked.map(Row::shared_key));
                continue;
            }
            let touched: HashSet<&str> = written().chain(deletes).map(Row::key).collect();
            self.rows[index].retain(|row| !touched.contains(row.key()));
            let asked =
                written().filter(|row| row.0[need.by].as_str().is_some_and(|value| need.values.contains(value)));
            self.rows[index].extend(asked.cloned());
        }
    }
}

enum Before {
    /// The key did not exist.
    Absent,
    /// The row existed; this is its key.
    Exists(Arc<str>),
    /// This row existed.
    Row(Row),
}

struct Slot {
    before: Before,
    /// Row as the batch has left it; `None` before the batch touched it.
    now: Option<Row>,
    /// True when the batch removed it again.
    gone: bool,
    touched: bool,
}

impl Slot {
    fn key(&self) -> &str {
        match (&self.before, &self.now) {
            (Before::Exists(key), _) => key,
            (Before::Row(row), _) | (Before::Absent, Some(row)) => row.key(),
            (Before::Absent, None) => "",
        }
    }

    fn row(&self) -> Option<&Row> {
        match (&self.now, &self.before) {
            _ if self.gone => None,
            (Some(now), _) => Some(now),
            (None, Before::Row(before)) => Some(before),
            (None, _) => None,
        }
    }
}

/// The rows of one table that a batch works on: prior state below, changes on top.
pub struct Working {
    slots: Vec<Slot>,
    /// Places in `slots`, found by key.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// Places in the order in which the batch first touched them.
    touched: Vec<usize>,
}

impl Working {
    /// Creates the working copy of table `table` from the needs and their answers.
    pub fn new(needs: &Needs, prior: &Prior, table: usize) -> Working {
        let mut working = Working {
            slots: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            touched: Vec::new(),
        };
        for (index, need) in needs.rows.iter().enumerate().filter(|(_, need)| need.table == table) {
            for key in &prior.existing[index] {
                working.found(key, || Before::Exists(Arc::clone(key)));
            }
            for row in &prior.rows[index] {
                working.found(row.key(), || Before::Row(row.clone()));
            }
            debug_assert!(need.fetch == Fetch::Rows || need.by == 0, "existence is asked by key");
        }
        working
    }

    fn found(&mut self, key: &str, before: impl FnOnce() -> Before) {
        match self.place(key) {
            Ok(place) => self.slots[place].before = before(),
            Err(hash) => {
                self.add(hash, Slot { before: before(), now: None, gone: false, touched: false });
            }
        }
    }

    /// Returns the place of this key's slot, or else the key's hash.
    fn place(&self, key: &str) -> Result<usize, u64> {
        let hash = self.hasher.hash_one(key);
        self.places.find(hash, |place| self.slots[*place].key() == key).copied().ok_or(hash)
    }

    fn add(&mut self, hash: u64, slot: Slot) -> usize {
        let place = self.slots.len();
        self.slots.push(slot);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.places.insert_unique(hash, place, |place| hasher.hash_one(slots[*place].key()));
        place
    }

    fn touch(&mut self, place: usize) {
        if !std::mem::replace(&mut self.slots[place].touched, true) {
            self.touched.push(place);
        }
    }

    fn set(&mut self, place: usize, row: Row) {
        let slot = &mut self.slots[place];
        (slot.now, slot.gone) = (Some(row), false);
        self.touch(place);
    }

    /// Inserts the row unless its key exists: first write wins.
    pub fn insert_if_absent(&mut self, key: &str, row: impl FnOnce() -> Row) {
        match self.place(key) {
            Err(hash) => {
                let place =
                    self.add(hash, Slot { before: Before::Absent, now: Some(row()), gone: false, touched: false });
                self.touch(place);
            }
            Ok(place) => {
                if self.slots[place].gone {
                    self.set(place, row());
                }
            }
        }
    }

    /// Returns the row with this key, with the batch's changes so far.
    pub fn get(&self, key: &str) -> Option<&Row> {
        self.slots[self.place(key).ok()?].row()
    }

    /// Inserts or replaces the row.
    pub fn put(&mut self, row: Row) {
        match self.place(row.key()) {
            Ok(place) => self.set(place, row),
            Err(hash) => {
                let place =
                    self.add(hash, Slot { before: Before::Absent, now: Some(row), gone: false, touched: false });
                self.touch(place);
            }
        }
    }

    /// Removes the row with this key, if there is one.
    pub fn remove(&mut self, key: &str) {
        if let Ok(place) = self.place(key) {
            self.slots[place].gone = true;
            self.touch(place);
        }
    }

    /// Returns the changes.
    pub fn into_changes(self) -> TableChanges {
        let mut changes = TableChanges::default();
        let mut slots: Vec<Option<Slot>> = self.slots.into_iter().map(Some).collect();
        for place in self.touched {
            let Some(slot) = slots[place].take() else { continue };
            match (slot.before, slot.now) {
                (Before::Row(before), _) if slot.gone => changes.deletes.push(before),
                (Before::Absent, Some(now)) if !slot.gone => changes.inserts.push(now),
                (Before::Row(before), Some(now)) if before != now => changes.updates.push((before, now)),
                _ => {}
            }
        }
        changes
    }
}

/// Gathers the changes of several working tables.
pub fn changes_of(tables: &'static [Table], working: Vec<Working>) -> Changes {
    debug_assert_eq!(tables.len(), working.len());
    Changes { tables: Arc::new(working.into_iter().map(Working::into_changes).collect()) }
}
