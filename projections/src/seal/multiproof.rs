//! One proof for many leaves.
//!
//! The tree is walked from its root, left before right. A subtree with none of the leaves takes the next hash of the
//! proof, a leaf is the reader's own, and anything else is two halves. Every hash is used, and none is left over.

use super::Hash;
use super::tree::{Leaves, ProofError, left_of, node};

/// Lists the subtrees whose roots are the proof for these leaves of a tree of `size`. The indices ascend.
pub fn subtrees(size: u64, indices: &[u64]) -> Result<Vec<Leaves>, ProofError> {
    check(size, indices)?;
    let mut found = Vec::new();
    let mut take = |part, is_own: bool| {
        if !is_own {
            found.push(part);
        }
        Ok(())
    };
    walk(0..size, indices, &mut take, &|(), ()| ())?;
    Ok(found)
}

/// Computes the root that a tree of `size` has, if these leaves and this proof are of it. `leaves` ascend by index.
pub fn root(size: u64, leaves: &[(u64, Hash)], proof: &[Hash]) -> Result<Hash, ProofError> {
    let indices: Vec<u64> = leaves.iter().map(|(index, _)| *index).collect();
    check(size, &indices)?;
    let (mut own, mut rest) = (leaves.iter().map(|(_, hash)| hash), proof.iter());
    let mut take = |_, is_own: bool| {
        let hash = if is_own { own.next() } else { rest.next() };
        hash.copied().ok_or(ProofError::TooShort)
    };
    let root = walk(0..size, &indices, &mut take, &|left, right| node(&left, &right))?;
    if rest.next().is_some() { Err(ProofError::TooLong) } else { Ok(root) }
}

fn check(size: u64, indices: &[u64]) -> Result<(), ProofError> {
    let ascends = indices.windows(2).all(|pair| pair[0] < pair[1]);
    match indices.last() {
        Some(last) if *last < size && ascends => Ok(()),
        _ => Err(ProofError::Outside),
    }
}

/// Takes each subtree without one of the indices, and each of their leaves (then the flag is true), from left to right.
fn walk<T>(
    part: Leaves,
    indices: &[u64],
    take: &mut impl FnMut(Leaves, bool) -> Result<T, ProofError>,
    join: &impl Fn(T, T) -> T,
) -> Result<T, ProofError> {
    let leaves = part.end - part.start;
    if indices.is_empty() || leaves == 1 {
        return take(part, !indices.is_empty());
    }
    let middle = part.start + left_of(leaves);
    let (left, right) = indices.split_at(indices.partition_point(|index| *index < middle));
    let left = walk(part.start..middle, left, take, join)?;
    let right = walk(middle..part.end, right, take, join)?;
    Ok(join(left, right))
}
