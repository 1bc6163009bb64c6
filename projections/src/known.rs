//! What a set of rows holds, as far as is known to the only one who writes to it: so that only what is not known is looked up.
//!
//! *Guarantees.* Memory is bounded, whatever is noted. Whoever fills the rows from nothing ([`Known::new`]) knows everything, up to
//! [`EXACT_VALUES_MAX`] values: what was [noted](Known::note) exists, everything else does not. Beyond, only absence is known
//! ([`Absence`]): what is not surely absent is looked up. Whoever goes on with rows that were there before ([`Known::midway`]) knows that
//! what was [found](Known::found) by looking exists, up to [`MIDWAY_VALUES_MAX`] values, and then begins anew. Of the rest nothing is known;
//! but he may *assume* that what a batch brings into being ([`RowsNeed::fresh`]) is absent, if a wrong assumption cannot pass: its insert
//! meets the primary key, and nothing of its batch stands.
//!
//! A value is known by the 128 bits of SipHash-2-4 under a secret key. Two values with the same bits would be taken for one; the key is drawn
//! anew for each lane and never leaves it, so nobody can look for such a pair, and by chance it takes about 2⁶⁴ values.
//!
//! *Never here:* the rows. Where they are asked for ([`Fetch::Rows`]), those that exist are read.

use crate::absence::Absence;
use crate::prior::{Fetch, Needs, RowsNeed, Texts};
use crate::rows::{Changes, Row, TableChanges};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use siphasher::sip128::SipHasher24;

/// Values up to which everything is known: what 2²¹ places hold, 34 MiB.
pub const EXACT_VALUES_MAX: usize = (1 << 21) / 8 * 7;
/// Bytes of memory that knowing them takes at most: the values, and the filter that follows.
pub const EXACT_BYTES_MAX: usize = 42 * 1024 * 1024;

/// Values that are known of rows that were there before: what 2¹⁶ places hold, 1 MiB. Most of what a batch writes is never asked for again,
/// so that what was asked for is worth remembering.
pub const MIDWAY_VALUES_MAX: usize = (1 << 16) / 8 * 7;

/// See the module.
pub struct Known {
    secret: [u8; 16],
    held: Held,
    values_max: usize,
}

enum Held {
    /// Everything there is.
    All(HashTable<u128>),
    /// Too much to hold; what surely is not there.
    Absence(Absence),
    /// Some of what there is.
    Some(HashTable<u128>),
}

/// What need not be looked up.
pub struct Answer {
    /// An entry a need: the keys of which it is known that they exist and only that is asked.
    pub existing: Vec<Texts>,
    /// Whether others were taken for absent on an assumption.
    pub assumed: bool,
}

fn place(print: &u128) -> u64 {
    *print as u64
}

impl Known {
    /// Of no rows. `secret` is random and used once.
    pub fn new(secret: [u8; 16]) -> Known {
        Known { secret, held: Held::All(HashTable::new()), values_max: EXACT_VALUES_MAX }
    }

    /// Of rows that were there before. `secret` is random and used once.
    pub fn midway(secret: [u8; 16]) -> Known {
        Known { secret, held: Held::Some(HashTable::new()), values_max: MIDWAY_VALUES_MAX }
    }

    /// The same, with room for fewer values.
    pub fn with_room_for(self, values_max: usize) -> Known {
        Known { values_max, ..self }
    }

    fn print(&self, table: usize, column: usize, value: &str) -> u128 {
        // Each column has a key of its own, as long as there are fewer than 256 of either.
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

    /// Notes what a batch writes, by the columns that `asked` ever looks up by (all needs of a projection name the same). Midway nothing is
    /// gained by it.
    pub fn note(&mut self, asked: &Needs, changes: &Changes) {
        if matches!(self.held, Held::Some(_)) {
            return;
        }
        for RowsNeed { table, by, .. } in &asked.rows {
            let Some(TableChanges { inserts, updates, deletes }) = changes.tables.get(*table) else { continue };
            if *by == 0 {
                // Of a key there is one row; another column's value may be left in other rows.
                deletes.iter().for_each(|row| self.remove(*table, 0, row.key()));
            }
            let written: [&mut dyn Iterator<Item = &Row>; 2] =
                [&mut inserts.iter(), &mut updates.iter().map(|(_, after)| after)];
            for row in written.into_iter().flatten() {
                self.add(*table, *by, row.0[*by].as_str().unwrap_or_default());
            }
        }
    }

    /// Notes what was found to exist by looking it up, an entry a need.
    pub fn found(&mut self, asked: &Needs, existing: &[Texts]) {
        if matches!(self.held, Held::Some(_)) {
            for (need, keys) in asked.rows.iter().zip(existing) {
                keys.iter().for_each(|key| self.add(need.table, need.by, key));
            }
        }
    }

    /// Takes out of `needs` what need not be looked up; with `assume`, also what is absent by assumption.
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
        // Over the brink in the middle of a batch.
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
        // Nothing is assumed of what is known.
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
