//! What a set of rows surely does not hold: a filter over the values that rows are looked up by, so that a look-up that cannot
//! find anything is not made.
//!
//! *Guarantees.* [`Absence::is_absent`] is true only of a value that was never [noted](Absence::note). It may be false of one that
//! was not (about one in fifty, more when far more is noted than it has room for): then somebody looks, and finds nothing.
//! Memory is bounded by [`LAYER_BYTES_MAX`], whatever is noted.
//!
//! *Never here:* a yes. That a row exists is always read, and its text compared.
//!
//! It is a row of Bloom filters, each twice the size of the one before, so that a short log costs a few kilobytes.

use crate::prior::{Needs, RowsNeed};
use crate::rows::{Changes, Row, TableChanges};
use hashbrown::DefaultHashBuilder;
use std::hash::BuildHasher as _;

/// Bytes of the first layer.
const LAYER_BYTES_MIN: usize = 8 * 1024;
/// Bytes of the last layer; all of them together are less than twice that.
pub const LAYER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bits a value, in a layer that is full.
const BITS_PER_VALUE: usize = 16;
/// Bits that a value sets.
const PROBES: u64 = 4;
const WORD_BITS: usize = 64;

/// See the module.
#[derive(Default)]
pub struct Absence {
    layers: Vec<Layer>,
    hasher: DefaultHashBuilder,
}

struct Layer {
    words: Vec<u64>,
    values: usize,
}

impl Layer {
    fn of(bytes: usize) -> Layer {
        Layer { words: vec![0; bytes * 8 / WORD_BITS], values: 0 }
    }

    fn is_full(&self) -> bool {
        self.values >= self.words.len() * WORD_BITS / BITS_PER_VALUE
    }

    /// Word and bit of each probe. The number of words is a power of two.
    fn probes(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mask = (self.words.len() * WORD_BITS - 1) as u64;
        let step = (hash >> 32) | 1;
        (0..PROBES).map(move |probe| {
            let bit = hash.wrapping_add(probe.wrapping_mul(step)) & mask;
            ((bit / WORD_BITS as u64) as usize, 1 << (bit % WORD_BITS as u64))
        })
    }

    fn add(&mut self, hash: u64) {
        for (word, bit) in self.probes(hash) {
            self.words[word] |= bit;
        }
        self.values += 1;
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.probes(hash).all(|(word, bit)| self.words[word] & bit != 0)
    }
}

impl Absence {
    fn hash(&self, table: usize, column: usize, value: &str) -> u64 {
        self.hasher.hash_one((table, column, value))
    }

    fn add(&mut self, table: usize, column: usize, value: &str) {
        let hash = self.hash(table, column, value);
        if self.layers.last().is_none_or(Layer::is_full) {
            let last = self.layers.last().map_or(LAYER_BYTES_MIN / 2, |layer| layer.words.len() * WORD_BITS / 8);
            if last < LAYER_BYTES_MAX {
                self.layers.push(Layer::of(last * 2));
            }
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.add(hash);
        }
    }

    /// Whether no row with this value in this column was noted.
    pub fn is_absent(&self, table: usize, column: usize, value: &str) -> bool {
        let hash = self.hash(table, column, value);
        !self.layers.iter().rev().any(|layer| layer.may_hold(hash))
    }

    /// Notes the rows that a batch writes, by the columns that `asked` ever looks up by (what a projection needs of no events
    /// names them).
    pub fn note(&mut self, asked: &Needs, changes: &Changes) {
        for RowsNeed { table, by, .. } in &asked.rows {
            let Some(TableChanges { inserts, updates, .. }) = changes.tables.get(*table) else { continue };
            let written: [&mut dyn Iterator<Item = &Row>; 2] =
                [&mut inserts.iter(), &mut updates.iter().map(|(_, after)| after)];
            for row in written.into_iter().flatten() {
                self.add(*table, *by, row.0[*by].as_str().unwrap_or_default());
            }
        }
    }

    /// Leaves out of `needs` what is surely absent.
    pub fn leave_out(&self, needs: &mut Needs) {
        for RowsNeed { table, by, values, .. } in &mut needs.rows {
            values.retain(|value| !self.is_absent(*table, *by, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_never_called_absent_and_most_else_is() {
        // More than the last layer has room for.
        const NOTED: usize = 5_000_000;
        let mut absence = Absence::default();
        assert!(absence.is_absent(0, 0, "0"));
        for n in 0..NOTED {
            absence.add(0, 0, &n.to_string());
            if n % 1_000 == 0 {
                assert!(!absence.is_absent(0, 0, &n.to_string()), "{n}");
            }
        }
        assert!((0..NOTED).step_by(97).all(|n| !absence.is_absent(0, 0, &n.to_string())));
        let bytes: usize = absence.layers.iter().map(|layer| layer.words.len() * 8).sum();
        assert!(bytes < 2 * LAYER_BYTES_MAX, "{bytes}");
        let absent = |column| (0..10_000).filter(|n| absence.is_absent(0, column, &format!("not {n}"))).count();
        assert!(absent(0) > 5_000, "{}", absent(0));
    }

    #[test]
    fn a_short_log_costs_little_and_is_told_apart() {
        let mut absence = Absence::default();
        (0..10_000).for_each(|n| absence.add(1, 0, &n.to_string()));
        let wrong = (0..10_000).filter(|n| !absence.is_absent(1, 0, &format!("not {n}"))).count();
        assert!(wrong < 300, "{wrong}");
        // Another table, another column: another value.
        assert!((0..10_000).filter(|n| !absence.is_absent(0, 0, &n.to_string())).count() < 300);
        assert!(absence.layers.iter().map(|layer| layer.words.len() * 8).sum::<usize>() <= 64 * 1024);
    }
}
