//! Signed heads of a log: a stretch of them by size, and the newest.
//!
//! *Guarantees.* At most twice [`HEADS_MAX`] heads are in memory, however many are given, in whatever order. What is
//! left out is above [`Heads::upto`]. A head that two memories know is one head.

use super::memories::Kind;
use decisiongraph_projections::seal::texts::TreeHead;

/// Heads of a stretch: 6 MiB. A log that is signed every ten seconds has so many in a week.
pub(super) const HEADS_MAX: usize = 65_536;
/// Different roots that are kept of one size. At most one of them is that of the tree, so each other is a finding.
const ROOTS_MAX: usize = 4;

/// Number of a memory, and its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    pub number: usize,
    pub kind: Kind,
}

/// Signed head of a tree.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub head: TreeHead,
    pub at: Box<str>,
    /// Memory that is named for another root.
    pub memory: Memory,
    /// Memory that is named for a larger tree.
    pub newest_in: Memory,
}

impl Head {
    fn key(&self) -> (u64, [u8; 32], u8) {
        (self.head.size, self.head.root, self.memory.kind.rank())
    }
}

/// Heads of a log.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    from: u64,
    upto: u64,
    /// Ascending after [`Heads::settle`].
    heads: Vec<Head>,
    /// Heads of the largest size.
    newest: Vec<Head>,
    max: usize,
}

impl Heads {
    /// Wants the smallest heads from this size on, at most so many.
    pub fn new(from: u64, max: usize) -> Heads {
        Heads { from, upto: u64::MAX, heads: Vec::new(), newest: Vec::new(), max }
    }

    /// Returns the size up to which every head is here. The largest number: all are.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// True for a size within the stretch.
    pub fn wants(&self, size: u64) -> bool {
        (self.from..=self.upto).contains(&size)
    }

    /// Takes a head.
    pub fn take(&mut self, head: Head) {
        match self.newest.first().map_or(0, |newest| newest.head.size) {
            newest if head.head.size > newest || self.newest.is_empty() => self.newest = vec![head.clone()],
            newest if head.head.size == newest => {
                self.newest.push(head.clone());
                merge(&mut self.newest);
            }
            _ => {}
        }
        if self.wants(head.head.size) {
            self.heads.push(head);
            if self.heads.len() >= self.max.saturating_mul(2) {
                self.settle();
            }
        }
    }

    /// Takes the heads of another memory, from the same size on.
    pub fn join(&mut self, other: Heads) {
        self.upto = self.upto.min(other.upto);
        other
            .newest
            .into_iter()
            .filter(|head| !other.heads.iter().any(|it| it.head == head.head))
            .for_each(|head| self.take(head));
        other.heads.into_iter().for_each(|head| self.take(head));
        self.settle();
    }

    /// Sorts them, and leaves out what is too much.
    pub fn settle(&mut self) {
        merge(&mut self.heads);
        if let Some(last) = self.heads.get(self.max.saturating_sub(1)).filter(|_| self.heads.len() > self.max) {
            self.upto = last.head.size;
        }
        let upto = self.upto;
        self.heads.retain(|head| head.head.size <= upto);
    }

    /// Takes the stretch that follows this one.
    pub fn append(&mut self, next: Heads) {
        self.upto = next.upto;
        self.heads.extend(next.heads);
    }

    /// Wants the stretch that follows this one.
    pub fn after(&self) -> Heads {
        Heads::new(self.upto.saturating_add(1), self.max)
    }

    /// Goes on with the stretch that begins at this size.
    pub fn skip(&mut self, to: u64) {
        self.upto = to.saturating_sub(1);
    }

    /// Lists the heads of the stretch, by size.
    pub fn list(&self) -> &[Head] {
        &self.heads
    }

    /// Lists the heads of the largest size that was given.
    pub fn newest(&self) -> &[Head] {
        &self.newest
    }

    /// Forgets those of at most this size.
    pub fn forget(&mut self, upto: u64) {
        let first = self.heads.partition_point(|head| head.head.size <= upto);
        self.heads.drain(..first);
    }
}

/// Sorts heads, and makes one of those that are the same.
fn merge(heads: &mut Vec<Head>) {
    heads.sort_by_key(Head::key);
    let rank = |memory: Memory| memory.kind.rank_of_newest();
    heads.dedup_by(|next, kept| {
        if next.head == kept.head && rank(next.newest_in) < rank(kept.newest_in) {
            kept.newest_in = next.newest_in;
        }
        next.head == kept.head
    });
    let (mut size, mut roots) = (None, 0);
    heads.retain(|head| {
        roots = if size == Some(head.head.size) { roots + 1 } else { 1 };
        size = Some(head.head.size);
        roots <= ROOTS_MAX
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, root: u8, kind: Kind) -> Head {
        let memory = Memory { number: 0, kind };
        Head { head: TreeHead { size, root: [root; 32] }, at: "".into(), memory, newest_in: memory }
    }

    fn sizes(heads: &Heads) -> Vec<u64> {
        heads.list().iter().map(|head| head.head.size).collect()
    }

    #[test]
    fn the_smallest_are_kept_in_whatever_order_they_come_and_the_newest_is_known() {
        let mut given: Vec<u64> = (1..=1_000).map(|number| number * 37 % 1_009).collect();
        given.extend(given.clone());
        let mut heads = Heads::new(5, 10);
        for size in &given {
            heads.take(head(*size, 1, Kind::Place));
            assert!(heads.heads.len() < 20, "{}", heads.heads.len());
        }
        heads.settle();
        given.sort_unstable();
        given.dedup();
        let from = given.partition_point(|size| *size < 5);
        assert_eq!(sizes(&heads), given[from..from + 10]);
        assert_eq!((heads.upto(), heads.newest().len()), (given[from + 9], 1));
        assert_eq!(heads.newest()[0].head.size, *given.last().expect("some"));
    }

    #[test]
    fn two_memories_give_the_stretch_that_both_have_whole() {
        let mut one = Heads::new(1, 4);
        (1..=20).for_each(|size| one.take(head(size * 2, 1, Kind::Place)));
        let mut other = Heads::new(1, 4);
        (1..=20).for_each(|size| other.take(head(size, 1, Kind::Journal)));
        one.join(other);
        assert_eq!((sizes(&one), one.upto()), (vec![1, 2, 3, 4], 4));
        assert_eq!((one.newest().len(), one.newest()[0].head.size), (1, 40));
        let two = &one.list()[1];
        assert_eq!((two.memory.kind, two.newest_in.kind), (Kind::Place, Kind::Journal));
    }

    #[test]
    fn a_size_with_many_roots_does_not_fill_the_memory() {
        let mut heads = Heads::new(1, 8);
        for round in 0..100 {
            (0..=255).for_each(|root| heads.take(head(7, root, Kind::Database)));
            heads.take(head(8 + round, 1, Kind::Database));
        }
        heads.settle();
        assert!(heads.list().len() <= 16 && sizes(&heads).starts_with(&[7, 7, 7, 7, 8]), "{:?}", sizes(&heads));
    }
}
