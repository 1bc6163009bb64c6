//! A cache of rows known to exist. Safe because its owner is the only writer of the generation. Only unknown rows are
//! looked up.
//!
//! *Guarantees.* Memory is bounded, whatever is noted. There are two ways to begin.
//!
//! An owner that fills the rows from nothing ([`Known::new`]) knows everything, up to [`EXACT_VALUES_MAX`] values. Each
//! [noted](Known::note) value exists, and every other value does not. Beyond that bound, only absence is known
//! ([`Absence`]). A value that is not surely absent is looked up.
//!
//! An owner that continues with existing rows ([`Known::midway`]) knows the values that a look-up
//! [found](Known::found). It keeps up to [`MIDWAY_VALUES_MAX`] values, and then begins anew. Of all other values
//! nothing is known. The owner may *assume* that the values a batch creates ([`RowsNeed::fresh`]) are absent. A wrong
//! assumption cannot pass: the insert meets the primary key, and the whole batch is undone.
//!
//! A value is known by the 128 bits of SipHash-2-4 under a secret key. Two values with the same bits would be mistaken
//! for each other. The key is drawn anew for each lane and never leaves it, so no producer can search for such a pair.
//! By chance a pair takes about 2⁶⁴ values.
//!
//! *Never here:* the rows. When rows are requested ([`Fetch::Rows`]), the existing ones are read.

use crate::absence::Absence;
use crate::prior::{Fetch, Needs, RowsNeed, Texts};
use crate::rows::{Changes, Row, TableChanges};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use siphasher::sip128::SipHasher24;

/// Number of values up to which everything is known: the capacity of 2²¹ places, 34 MiB.
pub const EXACT_VALUES_MAX: usize = (1 << 21) / 8 * 7;
/// Most bytes of memory for complete knowledge: the values, and the filter that follows.
pub const EXACT_BYTES_MAX: usize = 42 * 1024 * 1024;

/// Number of values that are remembered of existing rows: the capacity of 2¹⁶ places, 1 MiB. Most rows that a batch
/// writes are never looked up again. Only values that were looked up are worth remembering.
pub const MIDWAY_VALUES_MAX: usize = (1 << 16) / 8 * 7;

/// A cache of known values; see the module.
pub struct Known {
    secret: [u8; 16],
    held: Held,
    values_max: usize,
}

enum Held {
    /// All existing values.
    All(HashTable<u128>),
    /// Too many values to hold; only the filter of absent values is left.
    Absence(Absence),
    /// Some of the existing values.
    Some(HashTable<u128>),
}

/// Result of [`Known::answer`]: the values that need not be looked up.
pub struct Answer {
    /// One entry per need: keys known to exist, for needs of [`Fetch::Existence`].
    pub existing: Vec<Texts>,
    /// True when other values were assumed absent.
    pub assumed: bool,
}

fn place(print: &u128) -> u64 {
    *print as u64
}

impl Known {
    /// Starts with no rows. `secret` is random and used once.
    pub fn new(secret: [u8; 16]) -> Known {
        Known { secret, held: Held::All(HashTable::new()), values_max: EXACT_VALUES_MAX }
    }

    /// Starts with rows that existed before. `secret` is random and used once.
    pub fn midway(secret: [u8; 16]) -> Known {
        Known { secret, held: Held::Some(HashTable::new()), values_max: MIDWAY_VALUES_MAX }
    }

    /// Sets a smaller limit of values.
    pub fn with_room_for(self, values_max: usize) -> Known {
        Known { values_max, ..self }
    }

    fn print(&self, table: usize, column: usize, value: &str) -> u128 {
        // Each column has its own key, as long as there are fewer than 256 tables and fewer than 256 columns.
        let mut key = self.secret;
        key[0] ^= table as u8;
        key[1] ^= column as u8;
        SipHasher24::new_with_key(&key).hash(value.as_bytes()).as_u128()
    }

    fn may_exist(&self, table: usize, column: usize, value: &str) -> bool {
        let print = self.print(table, column, value);
        match &self.held {
            Held::All(values) | Held::Some(values) => values.find(place(&print), |held| *held == print).is_some(),
            Held::Absence(absence) => absence.may_hold(place(&print)),
        }
    }

    fn add(&mut self, table: usize, column: usize, value: &str) {
        let print = self.print(table, column, value);
        match &mut self.held {
            Held::Absence(absence) => absence.add(place(&print)),
            Held::All(values) | Held::Some(values) => {
                if let Entry::Vacant(vacant) = values.entry(place(&print), |held| *held == print, place) {
                    vacant.insert(print);
                }
                if values.len() >= self.values_max {
                    self.make_room();
                }
            }
        }
    }

    fn make_room(&mut self) {
        match &mut self.held {
            Held::All(values) => {
                let mut absence = Absence::default();
                values.iter().for_each(|print| absence.add(place(print)));
                self.held = Held::Absence(absence);
            }
            Held::Some(values) => values.clear(),
            Held::Absence(_) => {}
        }
    }

    fn remove(&mut self, table: usize, column: usize, value: &str) {
        let print = self.print(table, column, value);
        if let Held::All(values) = &mut self.held
            && let Ok(held) = values.find_entry(place(&print), |held| *held == print)
        {
            held.remove();
        }
    }

    /// Notes the writes of a batch, by the columns that `asked` looks up by. (All needs of a projection name the same
    /// columns.) Midway this has no effect.
    pub fn note(&mut self, asked: &Needs, changes: &Changes) {
        if matches!(self.held, Held::Some(_)) {
            return;
        }
        for RowsNeed { table, by, .. } in &asked.rows {
            let Some(TableChanges { inserts, updates, deletes }) = changes.tables.get(*table) else { continue };
            if *by == 0 {
                // A key has one row; the value of another column may remain in other rows.
                deletes.iter().for_each(|row| self.remove(*table, 0, row.key()));
            }
            let written: [&mut dyn Iterator<Item = &Row>; 2] =
                [&mut inserts.iter(), &mut updates.iter().map(|(_, after)| after)];
            for row in written.into_iter().flatten() {
                self.add(*table, *by, row.0[*by].as_str().unwrap_or_default());
            }
        }
    }

    /// Notes values that a look-up found, one entry per need.
    pub fn found(&mut self, asked: &Needs, existing: &[Texts]) {
        if matches!(self.held, Held::Some(_)) {
            for (need, keys) in asked.rows.iter().zip(existing) {
                keys.iter().for_each(|key| self.add(need.table, need.by, key));
            }
        }
    }

    /// Removes from `needs` all values that need not be looked up. With `assume`, it also removes values absent by
    /// assumption.
    pub fn answer(&self, needs: &mut Needs, assume: bool) -> Answer {
        let mut assumed = false;
        let existing = needs.rows.iter_mut().map(|RowsNeed { table, by, fetch, values, fresh }| {
            let mut existing = Texts::new();
            match (&self.held, fetch) {
                (Held::All(_), Fetch::Existence) => {
                    existing.extend(values.drain().filter(|value| self.may_exist(*table, *by, value)));
                }
                (Held::All(_) | Held::Absence(_), _) => values.retain(|value| self.may_exist(*table, *by, value)),
                (Held::Some(_), Fetch::Existence) => {
                    existing.extend(values.extract_if(|value| self.may_exist(*table, *by, value)));
                    for key in fresh.iter().filter(|_| assume) {
                        assumed |= values.remove(key);
                    }
                }
                (Held::Some(_), Fetch::Rows) => {}
            }
            existing
        });
        Answer { existing: existing.collect(), assumed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Value;
    use std::sync::Arc;

    const ROOM: usize = 1_000;

    fn text(n: usize) -> Arc<str> {
        n.to_string().into()
    }

    fn asked(values: impl Iterator<Item = usize>, fetch: Fetch) -> Needs {
        let values = values.map(text).collect();
        Needs { rows: vec![RowsNeed { values, ..RowsNeed::of(0, 0, fetch) }], ..Needs::default() }
    }

    fn writes(inserts: impl Iterator<Item = usize>, deletes: impl Iterator<Item = usize>) -> Changes {
        let row = |n: usize| Row(vec![Value::Text(text(n))]);
        let (inserts, deletes) = (inserts.map(row).collect(), deletes.map(row).collect());
        Changes { tables: Arc::new(vec![TableChanges { inserts, updates: Vec::new(), deletes }]) }
    }

    #[test]
    fn while_there_is_room_nothing_is_looked_up_but_rows_that_exist() {
        let nothing = asked(0..0, Fetch::Existence);
        let mut known = Known::new([7; 16]).with_room_for(ROOM);
        known.note(&nothing, &writes(0..ROOM / 2, 0..0));
        known.note(&nothing, &writes(0..0, 0..10));
        let mut needs = asked(0..ROOM, Fetch::Existence);
        let existing = known.answer(&mut needs, true).existing;
        assert_eq!(existing, vec![(10..ROOM / 2).map(text).collect::<Texts>()]);
        assert!(needs.rows[0].values.is_empty());
        let mut needs = asked(0..ROOM, Fetch::Rows);
        assert!(known.answer(&mut needs, true).existing[0].is_empty());
        assert_eq!(needs.rows[0].values, (10..ROOM / 2).map(text).collect::<Texts>());
    }

    #[test]
    fn what_an_update_leaves_in_a_column_is_known_as_well() {
        let row = |value: &str| Row(vec!["key".into(), value.into()]);
        let updates = vec![(row("before"), row("after"))];
        let changes =
            Changes { tables: Arc::new(vec![TableChanges { inserts: Vec::new(), updates, deletes: Vec::new() }]) };
        let need = |values: &[&str]| Needs {
            rows: vec![RowsNeed {
                values: values.iter().map(|&value| value.into()).collect(),
                ..RowsNeed::of(0, 1, Fetch::Rows)
            }],
            ..Needs::default()
        };
        let mut known = Known::new([7; 16]).with_room_for(ROOM);
        known.note(&need(&[]), &changes);
        let mut needs = need(&["after", "elsewhere"]);
        known.answer(&mut needs, true);
        assert_eq!(needs.rows[0].values, need(&["after"]).rows[0].values);
    }

    #[test]
    fn beyond_that_what_was_written_is_always_looked_up_and_most_else_is_not() {
        let nothing = asked(0..0, Fetch::Existence);
        let mut known = Known::new([7; 16]).with_room_for(ROOM);
        // The limit is passed in the middle of a batch.
        for batch in 0..4 {
            known.note(&nothing, &writes(batch * 600..(batch + 1) * 600, 0..0));
        }
        let mut needs = asked(0..12_000, Fetch::Existence);
        assert!(known.answer(&mut needs, true).existing[0].is_empty());
        let looked_up = &needs.rows[0].values;
        assert!((0..2_400).all(|n| looked_up.contains(&text(n))));
        assert!(looked_up.len() < 2_400 + 500, "{}", looked_up.len());
    }

    #[test]
    fn midway_only_what_was_met_or_is_fresh_is_not_looked_up() {
        let mut known = Known::midway([7; 16]);
        let mut rows = asked(0..40, Fetch::Rows);
        let asked = |fresh: std::ops::Range<usize>| {
            let mut needs = asked(0..40, Fetch::Existence);
            needs.rows[0].fresh = fresh.map(text).collect();
            needs
        };
        known.found(&asked(0..0), &[(0..20).map(text).collect()]);
        for assume in [false, true] {
            let mut needs = asked(15..30);
            let answer = known.answer(&mut needs, assume);
            assert_eq!(answer.existing, vec![(0..20).map(text).collect::<Texts>()]);
            assert_eq!(answer.assumed, assume);
            let looked_up = if assume { 30..40 } else { 20..40 };
            assert_eq!(needs.rows[0].values, looked_up.map(text).collect::<Texts>());
        }
        // Known values need no assumption.
        assert!(!known.answer(&mut asked(0..20), true).assumed);
        // Rows are read.
        known.answer(&mut rows, true);
        assert_eq!(rows.rows[0].values.len(), 40);
    }

    #[test]
    fn midway_memory_is_bounded_and_what_is_forgotten_is_looked_up() {
        let mut known = Known::midway([7; 16]).with_room_for(ROOM);
        known.found(&asked(0..0, Fetch::Existence), &[(0..ROOM + 10).map(text).collect()]);
        let mut needs = asked(0..ROOM + 10, Fetch::Existence);
        assert_eq!(known.answer(&mut needs, true).existing[0].len(), 10);
        assert_eq!(needs.rows[0].values.len(), ROOM);
    }
}
