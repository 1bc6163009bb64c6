//! A filter over hashes of added values. It tells which values a set surely does not hold.
//!
//! *Guarantees.* [`Absence::may_hold`] is false only for a hash that was never added. It may be true for a hash that
//! was not added: about one in fifty, more when the filter is overfull. The caller then looks the value up and finds
//! nothing. Memory is bounded by [`LAYER_BYTES_MAX`], whatever is added.
//!
//! *Never here:* a yes. The existence of a value is known elsewhere, or read.
//!
//! It is a row of Bloom filters. Each is twice the size of the one before, so a short log costs a few kilobytes.

/// Bytes of the first layer.
const LAYER_BYTES_MIN: usize = 8 * 1024;
/// Bytes of the last layer; all layers together are less than twice that.
const LAYER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bits per value, in a full layer.
const BITS_PER_VALUE: usize = 16;
/// Bits that each value sets.
const PROBES: u64 = 4;
const WORD_BITS: usize = 64;

/// A filter of several layers; see the module.
#[derive(Default)]
pub(crate) struct Absence {
    layers: Vec<Layer>,
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
    /// Adds a hash.
    pub(crate) fn add(&mut self, hash: u64) {
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

    /// True when this hash may have been added.
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        self.layers.iter().rev().any(|layer| layer.may_hold(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn what_was_added_is_never_called_absent_and_most_else_is() {
        // More than the last layer has room for.
        const ADDED: u64 = 5_000_000;
        let mut absence = Absence::default();
        assert!(!absence.may_hold(hash(0)));
        for n in 0..ADDED {
            absence.add(hash(n));
            if n % 1_000 == 0 {
                assert!(absence.may_hold(hash(n)), "{n}");
            }
        }
        assert!((0..ADDED).step_by(97).all(|n| absence.may_hold(hash(n))));
        let bytes: usize = absence.layers.iter().map(|layer| layer.words.len() * 8).sum();
        assert!(bytes < 2 * LAYER_BYTES_MAX, "{bytes}");
        let absent = (ADDED..ADDED + 10_000).filter(|n| !absence.may_hold(hash(*n))).count();
        assert!(absent > 5_000, "{absent}");
    }

    #[test]
    fn few_cost_little_and_are_told_apart() {
        let mut absence = Absence::default();
        (0..10_000).for_each(|n| absence.add(hash(n)));
        let wrong = (10_000..20_000).filter(|n| absence.may_hold(hash(*n))).count();
        assert!(wrong < 300, "{wrong}");
        assert!(absence.layers.iter().map(|layer| layer.words.len() * 8).sum::<usize>() <= 64 * 1024);
    }
}
