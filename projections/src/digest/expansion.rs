//! Sums of the lanes of many messages. The lanes of a message are the first [`STATE_BYTES`] bytes of its extendable
//! BLAKE3 output.
//!
//! *Guarantees.* The sum is equal to that of the `blake3` crate's outputs, on every processor. Only the speed differs.
//!
//! The crate computes an output block by block, except with AVX-512. Here the processor's vectors hold eight
//! compressions at a time, in two ways:
//!
//! ```text
//! eight messages, block by block ──▶ each message's root ──▶ eight output blocks of that root, four times
//! ```
//!
//! The state of a compression is sixteen words, so a step is sixteen vectors of eight words. The sum keeps that order
//! ([`Columns`]) until the end, so no output is turned.
//!
//! *Source:* the BLAKE3 paper, 2020, sections 2.2 to 2.6. A message longer than a chunk has a tree of chunks, and the
//! crate computes its output.

#![expect(clippy::needless_range_loop, clippy::manual_memcpy, reason = "see `together`")]

use arrayvec::ArrayVec;
use blake3::hazmat::{ContextKey, HasherExt as _};
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u16x16, u32x8};

/// Lanes of a message, and of a sum.
pub const LANES: usize = 1024;
/// Bytes of that many lanes.
pub const STATE_BYTES: usize = LANES * 2;
/// Compressions at a time.
const WIDTH: usize = 8;
const BLOCK_BYTES: usize = 64;
const CHUNK_BYTES: usize = 1024;
const WORDS: usize = 16;
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 1 << 1;
const ROOT: u32 = 1 << 3;
const DERIVE_KEY_MATERIAL: u32 = 1 << 6;
const IV: [u32; 4] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A];

/// Words of the block that each round mixes in, in their order.
const SCHEDULE: [[usize; WORDS]; 7] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8],
    [3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1],
    [10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6],
    [12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4],
    [9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7],
    [11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13],
];

/// Direction in which a message's lanes go into the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

/// Sums of lanes: per step of eight output blocks, word of a block and block. A word holds two lanes.
type Columns = [[[u32; WIDTH]; WORDS]; STATE_BYTES / BLOCK_BYTES / WIDTH];

/// A sum of the lanes of messages.
pub(super) struct Sum {
    key: [u32; 8],
    /// Instructions for eight compressions at a time; `None` where the crate is wide by itself.
    level: Option<Level>,
    hasher: blake3::Hasher,
    /// Bytes of the waiting messages, each filled up with zeros to whole blocks.
    bytes: Vec<u8>,
    waiting: ArrayVec<Waiting, WIDTH>,
    columns: Columns,
    lanes: [u16; LANES],
}

/// A message that waits for others.
#[derive(Clone, Copy)]
struct Waiting {
    /// Position of its first block.
    from: usize,
    length: usize,
    sign: Sign,
}

impl Waiting {
    fn blocks(&self) -> usize {
        self.length.div_ceil(BLOCK_BYTES).max(1)
    }
}

impl Sum {
    /// Starts with no messages, for BLAKE3 in key-derivation mode with this key.
    pub fn new(key: &ContextKey) -> Sum {
        Sum::on(Some(Level::new()).filter(|_| !crate_is_wide()), key)
    }

    fn on(level: Option<Level>, key: &ContextKey) -> Sum {
        let hasher = blake3::Hasher::new_from_context_key(key);
        let mut words = [0; 8];
        words.iter_mut().zip(key.as_chunks().0).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
        Sum {
            key: words,
            level,
            hasher,
            bytes: Vec::new(),
            waiting: ArrayVec::new(),
            columns: Columns::default(),
            lanes: [0; LANES],
        }
    }

    /// Takes a message, which `write` appends.
    pub fn take(&mut self, sign: Sign, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.bytes.len();
        write(&mut self.bytes);
        let message = Waiting { from, length: self.bytes.len() - from, sign };
        if self.level.is_none() || message.length > CHUNK_BYTES {
            self.take_alone(message);
            self.bytes.truncate(from);
            return;
        }
        self.bytes.resize(from + message.blocks() * BLOCK_BYTES, 0);
        self.waiting.push(message);
        if self.waiting.is_full() {
            self.take_waiting();
        }
    }

    fn take_alone(&mut self, Waiting { from, length, sign }: Waiting) {
        let mut output = [0; STATE_BYTES];
        self.hasher.update(&self.bytes[from..from + length]).finalize_xof().fill(&mut output);
        self.hasher.reset();
        for (lane, bytes) in self.lanes.iter_mut().zip(output.as_chunks().0) {
            let value = u16::from_le_bytes(*bytes);
            *lane = if sign == Sign::Plus { lane.wrapping_add(value) } else { lane.wrapping_sub(value) };
        }
    }

    fn take_waiting(&mut self) {
        if let Some(level) = self.level {
            let (key, bytes, waiting, columns) = (&self.key, &self.bytes, &self.waiting, &mut self.columns);
            dispatch!(level, simd => together(simd, key, bytes, waiting, columns));
        }
        self.waiting.clear();
        self.bytes.clear();
    }

    /// Adds the sum to these lanes.
    pub fn add_to(mut self, lanes: &mut [u16; LANES]) {
        self.take_waiting();
        lanes.iter_mut().zip(&self.lanes).for_each(|(lane, value)| *lane = lane.wrapping_add(*value));
        for (step, words) in self.columns.iter().enumerate() {
            for (word, blocks) in words.iter().enumerate() {
                for (block, pair) in blocks.iter().enumerate() {
                    let at = ((step * WIDTH + block) * WORDS + word) * 2;
                    lanes[at] = lanes[at].wrapping_add(*pair as u16);
                    lanes[at + 1] = lanes[at + 1].wrapping_add((*pair >> 16) as u16);
                }
            }
        }
    }
}

/// True where the crate computes sixteen output blocks at a time: its own condition.
fn crate_is_wide() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let wide = std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let wide = false;
    wide
}

/// Input of the compressions that give a message's output.
struct Root {
    chaining: [u32; 8],
    block: [u32; WORDS],
    length: u32,
    flags: u32,
}

/// Adds the lanes of the waiting messages. From here down, everything is inlined into one function per instruction set.
/// Iterators would not be, so the loops count.
#[inline(always)]
fn together<S: Simd>(simd: S, key: &[u32; 8], bytes: &[u8], waiting: &[Waiting], columns: &mut Columns) {
    let mut chaining = [u32x8::splat(simd, 0); 8];
    for at in 0..8 {
        chaining[at] = u32x8::splat(simd, key[at]);
    }
    let mut blocks = 0;
    for at in 0..waiting.len() {
        blocks = blocks.max(waiting[at].blocks());
    }
    for at in 0..blocks {
        let mut flags = DERIVE_KEY_MATERIAL;
        if at == 0 {
            flags |= CHUNK_START;
        }
        let mut words = [[0; WIDTH]; WORDS];
        let mut chained = [[0; WIDTH]; 8];
        for at in 0..8 {
            chaining[at].store_array(&mut chained[at]);
        }
        for column in 0..waiting.len() {
            let message = waiting[column];
            if at >= message.blocks() {
                continue;
            }
            let block = &bytes[message.from + at * BLOCK_BYTES..][..BLOCK_BYTES];
            let block = block.as_chunks().0;
            for word in 0..WORDS {
                words[word][column] = u32::from_le_bytes(block[word]);
            }
            if at + 1 == message.blocks() {
                let length = (message.length - at * BLOCK_BYTES) as u32;
                let mut root = Root { chaining: [0; 8], block: [0; WORDS], length, flags: flags | CHUNK_END | ROOT };
                for word in 0..8 {
                    root.chaining[word] = chained[word][column];
                }
                for word in 0..WORDS {
                    root.block[word] = words[word][column];
                }
                expand(simd, &root, message.sign, columns);
            }
        }
        if at + 1 == blocks {
            break;
        }
        // A message that has ended is compressed on, for nothing.
        let mut block = [u32x8::splat(simd, 0); WORDS];
        for word in 0..WORDS {
            block[word] = u32x8::load_array_ref(simd, &words[word]);
        }
        let zero = u32x8::splat(simd, 0);
        let (length, flags) = (u32x8::splat(simd, BLOCK_BYTES as u32), u32x8::splat(simd, flags));
        let state = compressed(simd, &chaining, &block, zero, length, flags);
        for word in 0..8 {
            chaining[word] = state[word] ^ state[word + 8];
        }
    }
}

/// Adds a message's output, eight blocks at a time.
#[inline(always)]
fn expand<S: Simd>(simd: S, root: &Root, sign: Sign, columns: &mut Columns) {
    let mut chaining = [u32x8::splat(simd, 0); 8];
    for word in 0..8 {
        chaining[word] = u32x8::splat(simd, root.chaining[word]);
    }
    let mut block = [u32x8::splat(simd, 0); WORDS];
    for word in 0..WORDS {
        block[word] = u32x8::splat(simd, root.block[word]);
    }
    let (length, flags) = (u32x8::splat(simd, root.length), u32x8::splat(simd, root.flags));
    let mut counter = u32x8::load_array(simd, [0, 1, 2, 3, 4, 5, 6, 7]);
    for at in 0..columns.len() {
        let step = &mut columns[at];
        let state = compressed(simd, &chaining, &block, counter, length, flags);
        for word in 0..8 {
            add(simd, &mut step[word], state[word] ^ state[word + 8], sign);
            add(simd, &mut step[word + 8], state[word + 8] ^ chaining[word], sign);
        }
        counter += u32x8::splat(simd, WIDTH as u32);
    }
}

#[inline(always)]
fn add<S: Simd>(simd: S, sum: &mut [u32; WIDTH], output: u32x8<S>, sign: Sign) {
    let (before, output): (u16x16<S>, u16x16<S>) = (u32x8::load_array_ref(simd, sum).bitcast(), output.bitcast());
    let after = if sign == Sign::Plus { before + output } else { before - output };
    let after: u32x8<S> = after.bitcast();
    after.store_array(sum);
}

/// Computes the state behind the rounds of eight compressions.
#[inline(always)]
fn compressed<S: Simd>(
    simd: S,
    chaining: &[u32x8<S>; 8],
    block: &[u32x8<S>; WORDS],
    counter: u32x8<S>,
    length: u32x8<S>,
    flags: u32x8<S>,
) -> [u32x8<S>; WORDS] {
    let mut state = [u32x8::splat(simd, 0); WORDS];
    for word in 0..8 {
        state[word] = chaining[word];
    }
    for word in 0..4 {
        state[8 + word] = u32x8::splat(simd, IV[word]);
    }
    (state[12], state[14], state[15]) = (counter, length, flags);
    // Not a loop: the indices must be constants, so that the state stays in registers.
    round(&mut state, block, SCHEDULE[0]);
    round(&mut state, block, SCHEDULE[1]);
    round(&mut state, block, SCHEDULE[2]);
    round(&mut state, block, SCHEDULE[3]);
    round(&mut state, block, SCHEDULE[4]);
    round(&mut state, block, SCHEDULE[5]);
    round(&mut state, block, SCHEDULE[6]);
    state
}

#[inline(always)]
fn round<S: Simd>(state: &mut [u32x8<S>; WORDS], block: &[u32x8<S>; WORDS], order: [usize; WORDS]) {
    mix(state, [0, 4, 8, 12], block[order[0]], block[order[1]]);
    mix(state, [1, 5, 9, 13], block[order[2]], block[order[3]]);
    mix(state, [2, 6, 10, 14], block[order[4]], block[order[5]]);
    mix(state, [3, 7, 11, 15], block[order[6]], block[order[7]]);
    mix(state, [0, 5, 10, 15], block[order[8]], block[order[9]]);
    mix(state, [1, 6, 11, 12], block[order[10]], block[order[11]]);
    mix(state, [2, 7, 8, 13], block[order[12]], block[order[13]]);
    mix(state, [3, 4, 9, 14], block[order[14]], block[order[15]]);
}

#[inline(always)]
fn mix<S: Simd>(state: &mut [u32x8<S>; WORDS], [a, b, c, d]: [usize; 4], x: u32x8<S>, y: u32x8<S>) {
    state[a] = state[a] + state[b] + x;
    state[d] = rotated(state[d] ^ state[a], 16);
    state[c] += state[d];
    state[b] = rotated(state[b] ^ state[c], 12);
    state[a] = state[a] + state[b] + y;
    state[d] = rotated(state[d] ^ state[a], 8);
    state[c] += state[d];
    state[b] = rotated(state[b] ^ state[c], 7);
}

/// Rotates each word to the right.
#[inline(always)]
fn rotated<S: Simd>(words: u32x8<S>, bits: u32) -> u32x8<S> {
    (words >> bits) | (words << (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONTEXT: &str = "decisiongraph 2026-11-30 test of sums of outputs";

    /// Sums the outputs of the crate.
    fn of_crate(messages: &[(Sign, Vec<u8>)]) -> [u16; LANES] {
        let mut lanes = [0u16; LANES];
        for (sign, message) in messages {
            let mut output = [0; STATE_BYTES];
            blake3::Hasher::new_derive_key(CONTEXT).update(message).finalize_xof().fill(&mut output);
            for (lane, bytes) in lanes.iter_mut().zip(output.as_chunks().0) {
                let value = u16::from_le_bytes(*bytes);
                *lane = if *sign == Sign::Plus { lane.wrapping_add(value) } else { lane.wrapping_sub(value) };
            }
        }
        lanes
    }

    /// Sums the outputs in every way that this processor has: its widest vectors, its narrowest, and the crate.
    fn sums(messages: &[(Sign, Vec<u8>)]) -> Vec<[u16; LANES]> {
        let key = blake3::hazmat::hash_derive_key_context(CONTEXT);
        let levels = [Some(Level::new()), Some(Level::baseline()), None];
        let sums = levels.into_iter().map(|level| {
            let mut sum = Sum::on(level, &key);
            messages.iter().for_each(|(sign, message)| sum.take(*sign, |bytes| bytes.extend_from_slice(message)));
            let mut lanes = [0; LANES];
            sum.add_to(&mut lanes);
            lanes
        });
        sums.collect()
    }

    fn message(seed: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| (at.wrapping_mul(31) ^ (at >> 3) ^ seed.wrapping_mul(97)) as u8).collect()
    }

    #[test]
    fn every_length_around_blocks_and_chunks_gives_the_output_of_the_crate() {
        let around = |middle: usize| middle.saturating_sub(2)..=middle + 2;
        let lengths = (0..=130).chain(around(256)).chain(around(512)).chain(around(960)).chain(around(1024));
        for length in lengths.chain(around(2048)).chain([3000, 5000]) {
            let one = [(Sign::Plus, message(length, length))];
            let expected = of_crate(&one);
            for sum in sums(&one) {
                assert!(sum == expected, "{length} bytes");
            }
        }
    }

    proptest! {
        /// Any messages of any lengths, added and subtracted in any order, give the sum of the crate's outputs.
        #[test]
        fn sums_are_those_of_the_crate(lengths in prop::collection::vec((any::<bool>(), 0usize..1200), 0..40)) {
            let sign = |plus| if plus { Sign::Plus } else { Sign::Minus };
            let messages: Vec<(Sign, Vec<u8>)> =
                lengths.iter().enumerate().map(|(seed, (plus, length))| (sign(*plus), message(seed, *length))).collect();
            let expected = of_crate(&messages);
            for sum in sums(&messages) {
                prop_assert!(sum == expected);
            }
        }
    }
}
