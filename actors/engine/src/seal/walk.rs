//! The log and its leaves side by side, stretch by stretch.
//!
//! ```text
//!   events ──page──┐
//!                  ├──▶ by position: a pair, a leaf without its event, an event without a leaf
//!   chunks ──page──┘
//! ```
//!
//! *Guarantees.* Every leaf and every event up to the last sealed one is met once, in order. At most one page of each
//! is in memory. A chunk that is damaged or missing is a finding, and the events of its stretch do not count as
//! inserted.

use super::event_check::{Erasures, judge};
use super::finding::{Findings, SealWord};
use super::reader::{leaves_of, missing_leaf};
use crate::budget::{Part, Share};
use crate::page::pure;
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Chunk, Leaf};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{LoggedEvent, PageLimit, ReadView, Result, SealTree};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most chunks per read: at most 4,096 leaves, 416 KiB.
const CHUNKS_MAX: usize = 16;
/// Fewest pairs that are worth a task of their own.
const PAIRS_PER_TASK: usize = 256;
/// Tasks per stretch.
const TASKS: usize = 4;

/// Next item of the tree.
enum Next {
    Leaf(Leaf),
    /// Leaves that no chunk gives.
    Hole,
}

/// A walk over a sealed log.
pub(super) struct Walk<'v> {
    view: &'v dyn ReadView,
    tenant: TenantId,
    tree: i64,
    size: u64,
    last: LogSeq,
    /// Index of the next leaf to be read.
    next_leaf: u64,
    /// Position of the last leaf that was read.
    last_leaf: LogSeq,
    /// Position of the last event that was read.
    after: LogSeq,
    leaves: VecDeque<Next>,
    events: VecDeque<LoggedEvent>,
    has_all_events: bool,
    /// True behind leaves that no chunk gives, up to the next leaf.
    in_hole: bool,
    damage: Findings,
}

/// Part of a walk.
#[derive(Default)]
pub(super) struct Stretch {
    /// Events with their leaves.
    pub pairs: Vec<(LoggedEvent, Leaf)>,
    /// All leaves, in order.
    pub leaves: Vec<Leaf>,
    /// Leaves without events, events without leaves, and chunks that are not as they should be.
    pub findings: Findings,
    /// True when leaves are left out: no chunk gives them.
    pub has_hole: bool,
    /// Position up to which everything was met.
    pub upto: LogSeq,
    /// Index of the leaf behind.
    pub next_leaf: u64,
}

impl<'v> Walk<'v> {
    /// Begins at leaf `from`, behind the event at `after`.
    pub fn new(view: &'v dyn ReadView, tree: &SealTree, from: u64, after: LogSeq) -> Walk<'v> {
        Walk {
            view,
            tenant: tree.tenant.clone(),
            tree: tree.tree,
            size: tree.head.size,
            last: tree.last,
            next_leaf: from,
            last_leaf: after,
            after,
            leaves: VecDeque::new(),
            events: VecDeque::new(),
            has_all_events: false,
            in_hole: false,
            damage: Findings::default(),
        }
    }

    /// Returns the next stretch; none at the end.
    pub async fn next(&mut self, limit: PageLimit) -> Result<Option<Stretch>> {
        // A tenant whose chunks are small takes more reads.
        let chunks = (limit.rows_max / CHUNK_EVENTS as usize).saturating_add(2).min(CHUNKS_MAX);
        self.read_leaves(chunks).await?;
        self.read_events(limit).await?;
        if self.leaves.is_empty() && self.events.is_empty() && self.damage.is_empty() {
            return Ok(None);
        }
        let end = LogSeq(i64::MAX);
        let leaf = |next: &Next| match next {
            Next::Leaf(leaf) => Some(leaf.log_seq),
            Next::Hole => None,
        };
        let more_leaves = self.next_leaf < self.size;
        let of_leaves = self.leaves.iter().rev().find_map(leaf).filter(|_| more_leaves).unwrap_or(end);
        let of_events = self.events.back().map(|event| event.log_seq).filter(|_| !self.has_all_events).unwrap_or(end);
        Ok(Some(self.take(of_leaves.min(of_events))))
    }

    /// Waits for a share of [`Budget::compare`](crate::Budget::compare), and returns the next stretch with it. An event
    /// that is larger than a page gets the larger share.
    pub async fn next_within(
        &mut self,
        work: &Part,
        [(page_bytes, page), (large_bytes, large)]: [(usize, PageLimit); 2],
    ) -> Result<(Option<Stretch>, Share)> {
        let share = work.hold(page_bytes).await;
        if let Ok(stretch) = self.next(page).await {
            return Ok((stretch, share));
        }
        // A fault that is not the size occurs again.
        drop(share);
        let share = work.hold(large_bytes).await;
        Ok((self.next(large).await?, share))
    }

    /// Takes everything up to this position.
    fn take(&mut self, upto: LogSeq) -> Stretch {
        let findings = std::mem::take(&mut self.damage);
        let mut stretch = Stretch { findings, upto: upto.min(self.last), ..Stretch::default() };
        while let Some(next) = self.leaves.pop_front() {
            let leaf = match next {
                Next::Leaf(leaf) if leaf.log_seq > upto => {
                    self.leaves.push_front(next);
                    break;
                }
                Next::Leaf(leaf) => leaf,
                Next::Hole => {
                    (stretch.has_hole, self.in_hole) = (true, true);
                    continue;
                }
            };
            self.unsealed_before(leaf.log_seq, &mut stretch);
            self.in_hole = false;
            stretch.leaves.push(leaf);
            match self.event_if(|at| at == leaf.log_seq) {
                Some(event) => stretch.pairs.push((event, leaf)),
                None => {
                    stretch.findings.add(SealWord::EventMissing.because(format!(
                        "leaf {} (log_seq {}): sealed, and not in the log",
                        leaf.index, leaf.log_seq.0
                    )))
                }
            }
        }
        self.unsealed_before(LogSeq(upto.0.saturating_add(1)), &mut stretch);
        let waiting = self.leaves.iter().find_map(|next| match next {
            Next::Leaf(leaf) => Some(leaf.index),
            Next::Hole => None,
        });
        stretch.next_leaf = waiting.unwrap_or(self.next_leaf);
        stretch
    }

    /// Takes the events below a position. None of them has a leaf.
    fn unsealed_before(&mut self, position: LogSeq, stretch: &mut Stretch) {
        while let Some(event) = self.event_if(|at| at < position) {
            if !self.in_hole {
                stretch.findings.add(SealWord::EventInserted.because(format!(
                    "log_seq {}: the log is sealed up to {}, and this was not sealed",
                    event.log_seq.0, self.last.0
                )));
            }
        }
    }

    /// Takes the next event if its position is such.
    fn event_if(&mut self, is_such: impl Fn(LogSeq) -> bool) -> Option<LoggedEvent> {
        match self.events.front().is_some_and(|event| is_such(event.log_seq)) {
            true => self.events.pop_front(),
            false => None,
        }
    }

    async fn read_events(&mut self, limit: PageLimit) -> Result<()> {
        if !self.events.is_empty() || self.has_all_events {
            return Ok(());
        }
        let page = self.view.logged_events(&self.tenant, self.after, self.last, limit).await?;
        match page.last() {
            Some(last) => self.after = last.log_seq,
            None => self.has_all_events = true,
        }
        self.events = page.into();
        Ok(())
    }

    /// Reads chunks until there is a leaf, or all are read.
    async fn read_leaves(&mut self, limit: usize) -> Result<()> {
        while self.next_leaf < self.size && !self.leaves.iter().any(|next| matches!(next, Next::Leaf(_))) {
            let before = self.next_leaf;
            let chunks = self.view.seal_chunks(&self.tenant, self.tree, before, limit).await?;
            let size = self.size;
            for chunk in chunks.iter().filter(|chunk| chunk.first_index < size) {
                self.take_chunk(chunk);
            }
            if self.next_leaf == before {
                self.hole_upto(self.size);
            }
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: &Chunk) {
        if chunk.first_index > self.next_leaf {
            self.hole_upto(chunk.first_index);
        }
        let ascends = |leaves: &Vec<Leaf>| leaves.first().is_some_and(|first| first.log_seq > self.last_leaf);
        match leaves_of(chunk) {
            // The walk may begin within a chunk.
            Ok(leaves) if chunk.first_index < self.next_leaf || ascends(&leaves) => {
                let new = leaves.into_iter().filter(|leaf| leaf.index >= self.next_leaf && leaf.index < self.size);
                let new: Vec<Leaf> = new.collect();
                if let Some(last) = new.last() {
                    (self.next_leaf, self.last_leaf) = (last.index + 1, last.log_seq);
                }
                self.leaves.extend(new.into_iter().map(Next::Leaf));
            }
            Ok(_) => {
                let text = format!("the chunk from leaf {} on is not behind the one before it", chunk.first_index);
                self.damaged(SealWord::TreeDamaged.because(text), chunk.end());
            }
            Err(finding) => self.damaged(finding, chunk.end()),
        }
    }

    fn hole_upto(&mut self, index: u64) {
        self.damaged(missing_leaf(self.next_leaf), index);
    }

    /// Notes that no chunk gives the leaves up to this index.
    fn damaged(&mut self, finding: super::SealFinding, upto: u64) {
        self.damage.add(finding);
        self.leaves.push_back(Next::Hole);
        self.next_leaf = self.next_leaf.max(upto.min(self.size));
    }
}

/// Findings about the events of a stretch, and the number of those whose erasure is recorded.
#[derive(Default)]
pub(super) struct Judgment {
    pub findings: Findings,
    pub erased: u64,
}

/// Compares events with their leaves, on every core that is free.
pub(super) async fn judge_pairs(pairs: Vec<(LoggedEvent, Leaf)>, erasures: &Arc<Erasures>) -> Result<Judgment> {
    let per_task = pairs.len().div_ceil(TASKS).max(PAIRS_PER_TASK);
    let (mut rest, mut tasks) = (pairs, Vec::new());
    while !rest.is_empty() {
        let behind = rest.split_off(per_task.min(rest.len()));
        let (part, erasures) = (std::mem::replace(&mut rest, behind), Arc::clone(erasures));
        tasks.push(pure(move || {
            let mut judgment = Judgment::default();
            for (event, leaf) in &part {
                let judged = judge(event, leaf, &erasures);
                judgment.erased += u64::from(judged.erased);
                judged.findings.into_iter().for_each(|finding| judgment.findings.add(finding));
            }
            judgment
        }));
    }
    let mut whole = Judgment::default();
    for part in futures_util::future::try_join_all(tasks).await? {
        whole.findings.join(part.findings);
        whole.erased += part.erased;
    }
    Ok(whole)
}
