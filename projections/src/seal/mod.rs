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
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// Reason why a text has not the form that it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Hashes the parts, joined.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    parts.iter().for_each(|part| sha.update(part));
    sha.finalize().into()
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
