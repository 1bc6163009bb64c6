//! A Merkle tree as in RFC 9162, section 2.1, with SHA-256.
//!
//! *Guarantees.* An append and a root never read the past: the [`Frontier`] is all memory. A proof is first a list of
//! subtrees ([`inclusion`], [`consistency`]); the caller looks their roots up. The checks of proofs use every hash.
//!
//! *Never:* trusts a number of a proof. A size, an index or a length that does not fit is an error.

use super::{Hash, sha256};
use std::ops::Range;

/// Leaves of a subtree, from the first to before the last.
pub type Leaves = Range<u64>;

/// Reason why a proof gives no root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProofError {
    #[error("an index is not in the tree")]
    Outside,
    #[error("the proof is too short")]
    TooShort,
    #[error("the proof is too long")]
    TooLong,
}

/// Returns the hash of two subtrees.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], left, right])
}

/// Returns the root of the tree without leaves.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// Returns the number of leaves on the left of a tree of at least two: the largest power of two below its size.
pub(super) fn left_of(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// Computes the root of these leaves.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.append(*leaf));
    frontier.root()
}

/// The memory of an append: the roots of the perfect subtrees of a size, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// Restores a stored frontier; `None` when the number of hashes is not that of the size.
    pub fn restore(size: u64, hashes: Vec<Hash>) -> Option<Frontier> {
        (hashes.len() == size.count_ones() as usize).then_some(Frontier { size, hashes })
    }

    /// Adds a leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.append_noting(leaf, |_, _, _| ());
    }

    /// Adds a leaf. `note` gets the root of each perfect subtree that it completes: its height (0 for the leaf), its
    /// number among the subtrees of that height, and its hash.
    pub fn append_noting(&mut self, leaf: Hash, mut note: impl FnMut(u32, u64, Hash)) {
        let (mut hash, mut rest, mut height) = (leaf, self.size, 0);
        note(height, rest, hash);
        while rest & 1 == 1 {
            if let Some(left) = self.hashes.pop() {
                hash = node(&left, &hash);
            }
            (rest, height) = (rest >> 1, height + 1);
            note(height, rest, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the hashes, as they are stored.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> Hash {
        let right_to_left = self.hashes.iter().rev().copied();
        right_to_left.reduce(|right, left| node(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// Lists the subtrees whose roots prove that the leaf at `index` is in a tree of `size`, in the proof's order.
pub fn inclusion(index: u64, size: u64) -> Result<Vec<Leaves>, ProofError> {
    if index >= size {
        return Err(ProofError::Outside);
    }
    let (mut part, mut path) = (0..size, Vec::new());
    while part.end - part.start > 1 {
        let middle = part.start + left_of(part.end - part.start);
        match index < middle {
            true => {
                path.push(middle..part.end);
                part.end = middle;
            }
            false => {
                path.push(part.start..middle);
                part.start = middle;
            }
        }
    }
    path.reverse();
    Ok(path)
}

/// Lists the subtrees whose roots prove that a tree of size `new` begins with that of size `old`, in the proof's order.
pub fn consistency(old: u64, new: u64) -> Result<Vec<Leaves>, ProofError> {
    if old > new {
        return Err(ProofError::Outside);
    }
    let (mut part, mut path) = (0..new, Vec::new());
    // The walk ends at the subtree that the old tree ends with.
    while old != 0 && part.end != old {
        let middle = part.start + left_of(part.end - part.start);
        match old <= middle {
            true => {
                path.push(middle..part.end);
                part.end = middle;
            }
            false => {
                path.push(part.start..middle);
                part.start = middle;
            }
        }
    }
    // A subtree from the first leaf on is the old tree itself, whose root the reader has.
    if part.start != 0 {
        path.push(part);
    }
    path.reverse();
    Ok(path)
}

/// Computes the root that a tree of `size` has, if the leaf at `index` and this proof are of it.
pub fn inclusion_root(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::Outside);
    }
    let (mut first, mut last, mut root) = (index, size - 1, *leaf);
    for hash in proof {
        if last == 0 {
            return Err(ProofError::TooLong);
        }
        if first & 1 == 1 || first == last {
            root = node(hash, &root);
            skip_lefts(&mut first, &mut last);
        } else {
            root = node(&root, hash);
        }
        (first, last) = (first >> 1, last >> 1);
    }
    if last == 0 { Ok(root) } else { Err(ProofError::TooShort) }
}

/// Climbs from a right edge that has no sibling to the level where it is a right child.
fn skip_lefts(first: &mut u64, last: &mut u64) {
    while *first & 1 == 0 && *first != 0 {
        (*first, *last) = (*first >> 1, *last >> 1);
    }
}

/// True when this proof shows that the tree of size `new` with root `new_root` begins with that of size `old` with
/// root `old_root`.
pub fn is_consistent(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    let is_known = |size: u64, root: &Hash| size != 0 || *root == empty_root();
    if !is_known(old, old_root) || !is_known(new, new_root) || old > new {
        return false;
    }
    if old == 0 || old == new {
        return proof.is_empty() && (old == 0 || old_root == new_root);
    }
    // A perfect old tree is a subtree of the new one: the proof leaves its root out.
    let begin = if old.is_power_of_two() { Some(old_root) } else { None };
    let mut hashes = begin.into_iter().chain(proof);
    let (Some(start), false) = (hashes.next(), proof.is_empty()) else { return false };
    let (mut first, mut last) = (old - 1, new - 1);
    while first & 1 == 1 {
        (first, last) = (first >> 1, last >> 1);
    }
    let (mut from_old, mut from_new) = (*start, *start);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if first & 1 == 1 || first == last {
            from_old = node(hash, &from_old);
            from_new = node(hash, &from_new);
            skip_lefts(&mut first, &mut last);
        } else {
            from_new = node(&from_new, hash);
        }
        (first, last) = (first >> 1, last >> 1);
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}
