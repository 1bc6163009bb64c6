//! The prior state of a batch: what a projection asks for ([`Needs`]), what the caller brought ([`Prior`]), and the
//! working copy that a fold changes ([`Working`]).

use crate::category::Refusal;
use crate::event::{LogEvent, LogSeq};
use crate::projection::Projection;
use crate::rows::{Changes, Row, Table, TableChanges, Value};
use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// A set of texts, in no order.
pub type Texts = HashSet<Arc<str>>;

/// This text, one for whoever asks `texts` for it.
pub fn shared(texts: &mut Texts, text: &str) -> Arc<str> {
    Arc::clone(texts.get_or_insert_with(text, |text| Arc::from(text)))
}

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
    pub values: Texts,
    /// Those of them that the batch brings into being, as far as one can tell from it: they are absent, unless an id was spelled twice.
    /// Whoever takes them for absent must notice when one is not; here it is inserted, and nothing else depends on it.
    pub fresh: Vec<Arc<str>>,
}

impl RowsNeed {
    /// No values yet.
    pub fn of(table: usize, by: usize, fetch: Fetch) -> RowsNeed {
        RowsNeed { table, by, fetch, values: Texts::new(), fresh: Vec::new() }
    }
}

/// What a batch must know before it can be projected. A pure function of its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rows of the projection's own tables. At most one entry a (table, column).
    pub rows: Vec<RowsNeed>,
    /// Traces of which the earlier events are wanted: those of [`crate::Projection::history_types`], from origin to just before the batch.
    pub history_of: BTreeSet<Arc<str>>,
    /// What the projection read of the events on the way; it need not read it again.
    pub carried: Carried,
}

/// What [`crate::Projection::needs`] hands to [`crate::Projection::project`] of the same events, in a form of the projection's own. It
/// saves work and decides nothing: without it `project` gives the same. All are equal.
#[derive(Clone, Default)]
pub struct Carried(Option<Arc<dyn Any + Send + Sync>>);

impl Carried {
    /// Something to carry: one `T` an event.
    pub fn of<T: Send + Sync + 'static>(read: Vec<T>) -> Carried {
        Carried(Some(Arc::new(read)))
    }

    /// What was carried for so many events, if it is of this kind.
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

/// The part of an earlier event that a projection keeps. Small, however large the event is: a trace has as many as its producer likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Position in the log.
    pub log_seq: LogSeq,
    /// Unique in its tenant.
    pub event_id: Arc<str>,
    /// One of [`crate::Projection::history_types`].
    pub event_type: Arc<str>,
    /// The members that [`crate::Projection::recall`] read, or the reason why they cannot be read.
    pub members: Result<Vec<Value>, Refusal>,
}

impl Recalled {
    /// The part of this event that this projection keeps.
    pub fn of(projection: &dyn Projection, event: &LogEvent) -> Recalled {
        Recalled {
            log_seq: event.log_seq,
            event_id: Arc::clone(&event.event_id),
            event_type: Arc::clone(&event.event_type),
            members: projection.recall(event),
        }
    }

    /// About the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let members = match &self.members {
            Ok(members) => members.iter().map(Value::bytes).sum(),
            Err(refusal) => refusal.message.len(),
        };
        self.event_id.len() + self.event_type.len() + members
    }
}

/// The answers to a [`Needs`].
#[derive(Debug, Clone, Default)]
pub struct Prior {
    /// Per entry of [`Needs::rows`], in the same order: canonical keys found ([`Fetch::Existence`]).
    /// Rows found ([`Fetch::Rows`]) are in `rows`.
    pub existing: Vec<Texts>,
    /// Per entry of [`Needs::rows`], in the same order: the rows found.
    pub rows: Vec<Vec<Row>>,
    /// By trace id: what is kept of the wanted events, in `log_seq` order.
    pub history: HashMap<Arc<str>, Vec<Recalled>>,
}

impl Prior {
    /// The answer for a batch that needs nothing, or from origin: nothing exists yet.
    pub fn empty(needs: &Needs) -> Prior {
        Prior {
            existing: vec![Texts::new(); needs.rows.len()],
            rows: vec![Vec::new(); needs.rows.len()],
            history: HashMap::new(),
        }
    }

    /// Makes this the prior state *behind* a batch that is on its way to the database, whether or not what was read shows it: where the
    /// batch touched a row, the batch says what it is; where it did not, what was read is right before and after it.
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
    /// The key was not there.
    Absent,
    /// It was; this is its key.
    Exists(Arc<str>),
    /// This row was.
    Row(Row),
}

struct Slot {
    before: Before,
    /// The row as the batch has left it; `None` before the batch touched it.
    now: Option<Row>,
    /// Whether the batch took it out again.
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
    /// The working copy of table `table`, out of what was asked for and what was found.
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

    /// Where the slot of this key is, or the key's hash.
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

    /// The row with this key, as of now.
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

    /// What changed.
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
