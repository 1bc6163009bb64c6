//! What a set of rows holds, as far as is known to whoever has filled it from nothing, alone: so that only what is not known is
//! looked up.
//!
//! *Guarantees.* Up to [`EXACT_VALUES_MAX`] values everything is known: what was [noted](Known::note) exists, everything else does not.
//! Beyond, only absence is ([`Absence`]): what is not surely absent is looked up. Memory is bounded, whatever is noted.
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

/// See the module.
pub struct Known {
    secret: [u8; 16],
    /// Everything there is, until there is too much of it.
    exact: Option<HashTable<u128>>,
    exact_max: usize,
    /// Afterwards, what surely is not there.
    absence: Absence,
}

fn place(print: &u128) -> u64 {
    *print as u64
}

impl Known {
    /// Of no rows. `secret` is random and used once.
    pub fn new(secret: [u8; 16]) -> Known {
        Known::with_room_for(secret, EXACT_VALUES_MAX)
    }

    /// The same, with room for fewer values.
    pub fn with_room_for(secret: [u8; 16], exact_max: usize) -> Known {
        Known { secret, exact: Some(HashTable::new()), exact_max, absence: Absence::default() }
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
        match &self.exact {
            Some(exact) => exact.find(place(&print), |held| *held == print).is_some(),
            None => self.absence.may_hold(place(&print)),
        }
    }

    fn add(&mut self, table: usize, column: usize, value: &str) {
        let print = self.print(table, column, value);
        let Some(exact) = &mut self.exact else { return self.absence.add(place(&print)) };
        if let Entry::Vacant(vacant) = exact.entry(place(&print), |held| *held == print, place) {
            vacant.insert(print);
        }
        if exact.len() >= self.exact_max {
            self.exact.take().into_iter().flatten().for_each(|print| self.absence.add(place(&print)));
        }
    }

    fn remove(&mut self, table: usize, column: usize, value: &str) {
        let print = self.print(table, column, value);
        if let Some(exact) = &mut self.exact
            && let Ok(held) = exact.find_entry(place(&print), |held| *held == print)
        {
            held.remove();
        }
    }

    /// Notes what a batch writes, by the columns that `asked` ever looks up by (what a projection needs of no events names them).
    pub fn note(&mut self, asked: &Needs, changes: &Changes) {
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

    /// Takes out of `needs` what need not be looked up. Gives, an entry a need, the keys of which it is known that they exist and only
    /// that is asked.
    pub fn answer(&self, needs: &mut Needs) -> Vec<Texts> {
        let answered = needs.rows.iter_mut().map(|RowsNeed { table, by, fetch, values }| {
            let mut existing = Texts::new();
            if *fetch == Fetch::Existence && self.exact.is_some() {
                existing.extend(values.drain().filter(|value| self.may_exist(*table, *by, value)));
            } else {
                values.retain(|value| self.may_exist(*table, *by, value));
            }
            existing
        });
        answered.collect()
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
        Needs { rows: vec![RowsNeed { table: 0, by: 0, fetch, values }], ..Needs::default() }
    }

    fn writes(inserts: impl Iterator<Item = usize>, deletes: impl Iterator<Item = usize>) -> Changes {
        let row = |n: usize| Row(vec![Value::Text(text(n))]);
        let (inserts, deletes) = (inserts.map(row).collect(), deletes.map(row).collect());
        Changes { tables: Arc::new(vec![TableChanges { inserts, updates: Vec::new(), deletes }]) }
    }

    #[test]
    fn while_there_is_room_nothing_is_looked_up_but_rows_that_exist() {
        let nothing = asked(0..0, Fetch::Existence);
        let mut known = Known::with_room_for([7; 16], ROOM);
        known.note(&nothing, &writes(0..ROOM / 2, 0..0));
        known.note(&nothing, &writes(0..0, 0..10));
        let mut needs = asked(0..ROOM, Fetch::Existence);
        let existing = known.answer(&mut needs);
        assert_eq!(existing, vec![(10..ROOM / 2).map(text).collect::<Texts>()]);
        assert!(needs.rows[0].values.is_empty());
        let mut needs = asked(0..ROOM, Fetch::Rows);
        assert!(known.answer(&mut needs)[0].is_empty());
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
                table: 0,
                by: 1,
                fetch: Fetch::Rows,
                values: values.iter().map(|&value| value.into()).collect(),
            }],
            ..Needs::default()
        };
        let mut known = Known::with_room_for([7; 16], ROOM);
        known.note(&need(&[]), &changes);
        let mut needs = need(&["after", "elsewhere"]);
        known.answer(&mut needs);
        assert_eq!(needs.rows[0].values, need(&["after"]).rows[0].values);
    }

    #[test]
    fn beyond_that_what_was_written_is_always_looked_up_and_most_else_is_not() {
        let nothing = asked(0..0, Fetch::Existence);
        let mut known = Known::with_room_for([7; 16], ROOM);
        // Over the brink in the middle of a batch.
        for batch in 0..4 {
            known.note(&nothing, &writes(batch * 600..(batch + 1) * 600, 0..0));
        }
        let mut needs = asked(0..12_000, Fetch::Existence);
        assert!(known.answer(&mut needs)[0].is_empty());
        let looked_up = &needs.rows[0].values;
        assert!((0..2_400).all(|n| looked_up.contains(&text(n))));
        assert!(looked_up.len() < 2_400 + 500, "{}", looked_up.len());
    }
}
