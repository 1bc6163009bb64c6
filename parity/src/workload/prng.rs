//! The generator's only randomness: xoshiro256**, seeded by splitmix64 (Blackman and Vigna, public domain).
//!
//! *Guarantees:* the same seed gives the same numbers on every machine and in every version of this program. A test
//! pins the first numbers. *Never:* for secrets.

/// A seeded sequence of numbers.
#[derive(Debug, Clone)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> Prng {
        let mut seed = seed;
        let mut splitmix = || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Prng { state: [splitmix(), splitmix(), splitmix(), splitmix()] }
    }

    /// Draws the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Draws a number below `bound`, which is at least 1. (Its bias is at most bound / 2⁶⁴.)
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Draws a number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times, on average.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Picks one of these.
    pub fn pick<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.below(of.len())]
    }

    /// Draws 128 bits in the shape of a UUID.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_pinned() {
        let mut prng = Prng::new(0);
        // The reference implementation, seeded with splitmix64 from 0.
        assert_eq!(prng.bits(), 0x99ec_5f36_cb75_f2b4);
        assert_eq!(prng.bits(), 0xbf6e_1f78_4956_452a);
        let mut prng = Prng::new(7);
        assert!((0..1000).all(|_| (3..=5).contains(&prng.between(3, 5))));
        assert_eq!(prng.uuid().len(), 36);
    }
}
