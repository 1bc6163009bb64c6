//! The seal: each event of a tenant is a leaf of a Merkle tree, whose signed heads leave the database.
//!
//! * [`leaf`]: an event becomes 64 bytes, two salted commitments; its payload is opened whole, in part or not at all;
//! * [`tree`]: root, inclusion and consistency as in RFC 9162, SHA-256;
//! * [`multiproof`]: one proof for many leaves;
//! * [`chunk`]: leaves in groups, as a store keeps them, and the growth of a tree;
//! * [`scope`]: the seal as a scope beside the projections;
//! * [`note`]: signed notes, their keys and signatures, and [`texts`]: the five texts that are signed.
//!
//! *Guarantees.* The seal judges nothing: any stored bytes have a leaf. The first byte of each hashed input separates
//! its use, so no leaf is a node and no envelope a payload. A reader of untrusted text never panics.
//!
//! *Never here:* randomness (the caller draws salts), and the arithmetic of signatures (the caller brings
//! [`note::Verify`]).

pub mod chunk;
pub mod leaf;
pub mod multiproof;
pub mod note;
pub mod scope;
#[cfg(test)]
mod tests;
pub mod texts;
pub mod tree;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// Reason why a text has not the form that it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Blocks of an input that is padded here: nearly all are so short. One call then compresses it, without a streaming
/// hasher's buffer in between.
const SHORT: usize = 8;
/// Bytes of an input behind its last: a byte 0x80, and its length in bits.
const PADDING: usize = 1 + size_of::<u64>();
/// State of SHA-256 before the first block.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Hashes the parts, joined.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if bytes + PADDING > SHORT * BLOCK {
        let mut sha = Sha256::new();
        parts.iter().for_each(|part| sha.update(part));
        return sha.finalize().into();
    }
    match (bytes + PADDING).div_ceil(BLOCK) {
        1 => short::<1>(parts),
        2 => short::<2>(parts),
        3 | 4 => short::<4>(parts),
        _ => short::<SHORT>(parts),
    }
}

/// Hashes parts that fit into so many blocks, with their padding.
fn short<const BLOCKS: usize>(parts: &[&[u8]]) -> Hash {
    let mut blocks = [[0; BLOCK]; BLOCKS];
    let (text, mut at) = (blocks.as_flattened_mut(), 0);
    for part in parts {
        text[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    text[at] = 0x80;
    let end = (at + PADDING).next_multiple_of(BLOCK);
    text[end - size_of::<u64>()..end].copy_from_slice(&(8 * at as u64).to_be_bytes());
    let mut state = START;
    compress256(&mut state, &blocks[..end / BLOCK]);
    let mut hash = Hash::default();
    hash.as_chunks_mut()
        .0
        .iter_mut()
        .zip(state)
        .for_each(|(bytes, word): (&mut [u8; 4], u32)| *bytes = word.to_be_bytes());
    hash
}

/// Writes bytes as base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64 in its one canonical spelling.
pub fn read_base64(text: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|_| Malformed("not canonical base64"))
}

/// Reads base64 of exactly this many bytes.
pub fn read_base64_of<const N: usize>(text: &str) -> Result<[u8; N], Malformed> {
    read_base64(text)?.try_into().map_err(|_| Malformed("not canonical base64 of the right length"))
}

/// Reads a number without sign and without leading zeros.
pub fn read_decimal(text: &str) -> Result<u64, Malformed> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical).ok_or(Malformed("not a number in its shortest form"))
}

/// Appends a text behind its length in bytes: `u32`, big-endian. A stored text is shorter than 4 GiB.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
