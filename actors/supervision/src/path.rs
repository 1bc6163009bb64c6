//! Paths of actors: ids from the root, separated by `/`.
//!
//! Guarantees: an order in which a subtree is one range, its root first. An id is one segment, whatever it contains.

use std::cmp::Ordering;
use std::sync::Arc;

/// Bytes of a path that are compared at once.
const COMPARED_BYTES: usize = 8;

/// A path with an order in which its subtree follows it directly: `/` sorts before every other byte.
#[derive(PartialEq, Eq)]
pub(super) struct PathKey(pub(super) Arc<str>);

impl PathKey {
    pub(super) fn new(path: &str) -> PathKey {
        PathKey(path.into())
    }
}

impl Ord for PathKey {
    fn cmp(&self, other: &PathKey) -> Ordering {
        let (left, right) = (self.0.as_bytes(), other.0.as_bytes());
        // Neighbours share most of their path: skip it in blocks.
        let blocks = left.chunks_exact(COMPARED_BYTES).zip(right.chunks_exact(COMPARED_BYTES));
        let same = COMPARED_BYTES * blocks.take_while(|(left, right)| left == right).count();
        let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
        left[same..].iter().map(rank).cmp(right[same..].iter().map(rank))
    }
}

impl PartialOrd for PathKey {
    fn partial_cmp(&self, other: &PathKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// True when `path` is `under` or below it; every path is below `""`.
pub(super) fn is_under(path: &str, under: &str) -> bool {
    match path.strip_prefix(under) {
        Some(rest) => under.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Escapes an id into one segment of a path.
pub(super) fn segment(id: &str) -> String {
    id.replace('%', "%25").replace('/', "%2F")
}
