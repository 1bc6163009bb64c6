//! The check of a log against its seal: log, entries, nodes and frontier, every known checkpoint, in this order.
//!
//! ```text
//!   events ─▶ leaves ─▶ nodes ─▶ frontier, root ─▶ checkpoints: database, journal, places
//! ```
//!
//! *Guarantees.* It changes nothing, and works on a standby and on a restored copy. Memory is bounded by the engine's
//! budget: one stretch is compared while the next one is read. The first finding of each word is named, so the report
//! tells the first link that is broken.
//!
//! *Not proved:* that events before the first checkpoint are as they were appended, that they are true, that none was
//! kept from the log. And nothing, when every memory is in the reach of the person who changed the database.

use super::finding::{FINDINGS_MAX, Findings, SealFinding, SealWord};
use super::known::Known;
use super::reader::TreeReader;
use super::walk::{Judgment, Stretch, Walk, judge_pairs};
use super::{Sealing, sealer};
use crate::drive::{Ended, Job};
use crate::pace::Pace;
use crate::page::pure;
use crate::report::VerifyOptions;
use crate::{Control, Engine};
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Leaf, Node, add_leaf};
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::seal::{Hash, base64};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::report::{LogFacts, LogFinding, LogReport, Progress};
use decisiongraph_store::{ReadView, Result, RunMode, SealTree, StoreError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the check where a job names its projection.
pub const LOG: &str = "log";
/// Wait for a copy that cannot be written to get the events of a newer checkpoint: a standby replays them.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Pause between two looks at such a copy.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Ears of a check: its progress, and requests to stop it.
pub struct Watch<'a> {
    control: &'a Control,
    job: Option<&'a Job<'a>>,
    told: Option<Instant>,
}

/// Shortest time between two writes of progress.
const TELL_EVERY: Duration = Duration::from_millis(200);

impl<'a> Watch<'a> {
    /// Follows a check that belongs to a recorded job, or to none.
    pub fn new(control: &'a Control, job: Option<&'a Job<'a>>) -> Watch<'a> {
        Watch { control, job, told: None }
    }

    /// Tells how far the check is. True when it is to stop.
    async fn told(&mut self, cursor: LogSeq, target: LogSeq, events: u64) -> Result<bool> {
        if let Some(sender) = &self.control.progress {
            let projection = LOG.to_owned();
            sender.send_replace(Some(Progress { mode: RunMode::Verify, projection, cursor, target, events }));
        }
        if let Some(job) = self.job
            && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY)
        {
            self.told = Some(Instant::now());
            if job.tell(LOG, cursor, target).await? {
                return Ok(true);
            }
        }
        Ok(self.control.cancel.is_requested())
    }
}

/// Returns the newest tree of a tenant; the empty one where sealing is on and nothing was sealed. None: nothing is
/// sealed, and nothing will be.
pub(super) async fn newest(
    view: &dyn ReadView,
    sealing: Option<&Arc<Sealing>>,
    tenant: &TenantId,
) -> Result<Option<SealTree>> {
    let stored = view.seal_trees(tenant).await?.pop();
    Ok(stored.or_else(|| sealing.map(|sealing| sealer::unborn(sealing, tenant))))
}

/// Checks the log of a tenant.
pub async fn check(
    engine: &Engine,
    tenant: &TenantId,
    options: &VerifyOptions,
    watch: &mut Watch<'_>,
) -> Result<(Ended, LogReport)> {
    let (started, view, sealing) = (Instant::now(), engine.store().view().await?, engine.sealing());
    let Some(tree) = newest(&*view, sealing, tenant).await? else { return Ok((Ended::Reached, LogReport::Unsealed)) };
    // Memories first: what they know is committed, so the tree that is read then has it.
    let known = Known::ask(&*view, &tree, sealing, options.against.as_deref(), options.since).await?;
    let again = newest(&*view, sealing, tenant).await?.filter(|again| again.tree == tree.tree);
    let tree = again.unwrap_or(tree);
    if tree.head.size == 0 && tree.sealed_since.is_empty() && known.newest().is_none() {
        return Ok((Ended::Reached, LogReport::Unsealed));
    }
    let mut check = Check::begin(engine, &*view, tree, known, options).await?;
    let ended = check.walk(watch).await?;
    let facts = check.conclude(started).await?;
    Ok((ended, LogReport::Checked(Box::new(facts))))
}

/// A check under way.
struct Check<'a> {
    engine: &'a Engine,
    view: &'a dyn ReadView,
    tree: SealTree,
    known: Known,
    since: u64,
    /// Position of the last event that is taken as checked.
    after: LogSeq,
    grown: Grown,
    /// Indices of the nodes of each level that are not what their leaves give, as far as they were met.
    wrong_nodes: Vec<(u32, u64)>,
    findings: Findings,
    /// True when leaves are missing: no root can be computed.
    has_hole: bool,
    events: u64,
    erased: u64,
    /// Number of signed heads that were compared.
    checkpoints: u64,
    pace: Option<Pace>,
}

/// The tree as its leaves give it.
#[derive(Default)]
struct Grown {
    frontier: Frontier,
    /// Sizes at which a root is wanted, ascending.
    wanted: VecDeque<u64>,
    roots: BTreeMap<u64, Hash>,
    /// Nodes that were completed since they were compared.
    nodes: Vec<Node>,
}

impl Grown {
    fn at(frontier: Frontier) -> Grown {
        let roots = BTreeMap::from([(frontier.size(), frontier.root())]);
        Grown { frontier, roots, ..Grown::default() }
    }

    fn grow(mut self, leaves: &[Leaf]) -> Grown {
        for leaf in leaves {
            add_leaf(&mut self.frontier, leaf.entry.leaf_hash(), &mut self.nodes);
            if self.wanted.front() == Some(&self.frontier.size()) {
                self.wanted.pop_front();
                self.roots.insert(self.frontier.size(), self.frontier.root());
            }
        }
        self
    }
}

impl<'a> Check<'a> {
    async fn begin(
        engine: &'a Engine,
        view: &'a dyn ReadView,
        tree: SealTree,
        known: Known,
        options: &VerifyOptions,
    ) -> Result<Check<'a>> {
        let (since, size) = (options.since, tree.head.size);
        if since > size {
            let message = format!("{size} events are sealed: the check cannot begin behind {since}");
            return Err(StoreError::new(Category::InvalidArgument, message));
        }
        let (mut frontier, mut after) = (Frontier::default(), LogSeq::ORIGIN);
        if since > 0 {
            let reader = TreeReader::new(view, &tree.tenant, tree.tree, size);
            frontier = reader.frontier_at(since).await?;
            after = reader.leaf(since - 1).await?.log_seq;
        }
        let grown = Grown::at(frontier);
        let mut check = Check {
            engine,
            view,
            tree,
            known,
            since,
            after,
            grown,
            wrong_nodes: Vec::new(),
            findings: Findings::default(),
            has_hole: false,
            events: 0,
            erased: 0,
            checkpoints: 0,
            pace: options.rows_per_s.map(Pace::new),
        };
        check.grown.roots.retain(|size, _| *size > 0);
        Ok(check)
    }

    /// Compares the log with the leaves. The next stretch is read meanwhile.
    async fn walk(&mut self, watch: &mut Watch<'_>) -> Result<Ended> {
        let (view, target) = (self.view, self.tree.last);
        let is_writable = self.engine.store().writable().await.is_ok();
        let budget = self.engine.budget();
        let limits = budget.compare(self.engine.config());
        let [(share_bytes, limit), _] = limits;
        // The leaves of a copy that cannot be written may be on their way.
        let beyond = self.known.erased_beyond(self.tree.head.size).filter(|_| is_writable);
        beyond.into_iter().for_each(|finding| self.findings.add(finding));
        let erasures = Arc::new(std::mem::take(&mut self.known.erasures));
        let mut walk = Walk::new(view, &self.tree, self.since, self.after);
        let mut ahead = None;
        loop {
            // What was read ahead is within the share that was given back, and waits for the next one with its reader.
            let (stretch, share) = match ahead.take() {
                Some(stretch) => (stretch, budget.work.hold(share_bytes).await),
                None => walk.next_within(&budget.work, limits).await?,
            };
            let Some(mut stretch) = stretch else { return Ok(Ended::Reached) };
            let upto = stretch.upto;
            self.has_hole |= stretch.has_hole;
            self.findings.join(std::mem::take(&mut stretch.findings));
            let events = stretch.pairs.len() as u64;
            let Stretch { pairs, leaves, .. } = stretch;
            // A leaf that is missing makes the sizes behind it others.
            if let Some(last) = leaves.last().filter(|_| !self.has_hole) {
                // The tree may have grown since the memories were asked: it has no known head there.
                self.known.extend(self.view, last.index.saturating_add(1).min(self.tree.head.size)).await?;
            }
            self.grown.wanted = self.known.sizes(self.grown.frontier.size(), u64::MAX).into();
            let grown = std::mem::take(&mut self.grown);
            let grow = pure(move || grown.grow(&leaves));
            let (judged, grown, read) = tokio::join!(judge_pairs(pairs, &erasures), grow, walk.next(limit));
            let Judgment { findings, erased } = judged?;
            // A fault of this read occurs again when its turn comes.
            ahead = read.ok();
            self.grown = grown?;
            self.findings.join(findings);
            (self.events, self.erased) = (self.events + events, self.erased + erased);
            self.compare_nodes().await?;
            if !self.has_hole {
                let reached = self.grown.frontier.size();
                self.known.compare(&self.grown.roots, reached.saturating_sub(1));
                self.grown.roots.retain(|size, _| *size >= reached);
            }
            if watch.told(upto, target, self.events).await? {
                return Ok(Ended::Cancelled);
            }
            if let Some(pace) = &self.pace {
                pace.took(events).await;
            }
            drop(share);
        }
    }

    /// Compares the nodes that were completed with the stored ones.
    async fn compare_nodes(&mut self) -> Result<()> {
        let completed = std::mem::take(&mut self.grown.nodes);
        let levels: BTreeSet<u32> = completed.iter().map(|node| node.level).collect();
        for level in levels {
            let computed: Vec<&Node> = completed.iter().filter(|node| node.level == level).collect();
            let (Some(first), Some(last)) = (computed.first(), computed.last()) else { continue };
            let indices = first.index..last.index.saturating_add(1);
            let stored = self.view.seal_nodes(&self.tree.tenant, self.tree.tree, level, indices).await?;
            let stored: BTreeMap<u64, Hash> = stored.into_iter().map(|node| (node.index, node.hash)).collect();
            let wrong = computed.iter().find(|node| stored.get(&node.index) != Some(&node.hash));
            // The first of a level is enough for a report.
            if let Some(wrong) = wrong.filter(|_| !self.wrong_nodes.iter().any(|(known, _)| *known == level)) {
                self.wrong_nodes.push((level, wrong.index));
            }
        }
        Ok(())
    }

    /// Compares the tree of the leaves with the stored one, and both with the known checkpoints.
    async fn conclude(mut self, started: Instant) -> Result<LogFacts> {
        let (size, reached) = (self.tree.head.size, self.grown.frontier.size());
        let is_whole = !self.has_hole && reached == size;
        if let Some(damage) = self.damage(is_whole) {
            self.findings.add(damage);
        }
        let (ahead, of_leaves) = (self.ahead().await?, self.known.judge(&self.grown.roots));
        self.checkpoints = self.known.compared(&self.grown.roots);
        let differs = match self.findings.has(SealWord::TreeDamaged) || !is_whole {
            false => of_leaves,
            // The tree contradicts itself. A checkpoint that fits one of its roots is not contradicted, too.
            true => {
                self.known.seek(self.view, size).await?;
                let stored = BTreeMap::from([(size, self.tree.head.root)]);
                self.known.judge(&stored).filter(|_| !is_whole || of_leaves.is_some())
            }
        };
        ahead.into_iter().chain(differs).for_each(|finding| self.findings.add(finding));
        self.findings.join(std::mem::take(&mut self.known.findings));
        Ok(self.facts(is_whole, started))
    }

    /// Reports chunks, nodes, frontier and root that contradict one another.
    fn damage(&self, is_whole: bool) -> Option<SealFinding> {
        let Some(stored) = self.tree.memory() else {
            return Some(SealWord::TreeDamaged.because("the frontier does not give the root of dg_seal"));
        };
        if is_whole && self.grown.frontier.root() != self.tree.head.root {
            let of_nodes = self.wrong_nodes.iter().find(|(level, _)| *level == 1).map(|(_, index)| *index);
            let chunk = of_nodes.unwrap_or_else(|| first_wrong_chunk(&stored, &self.grown.frontier));
            return Some(SealWord::TreeDamaged.because(format!("chunk {chunk} does not give the root of dg_seal")));
        }
        let (level, index) = self.wrong_nodes.first()?;
        let text = format!("node {index} of level {level} is not what its leaves give, or is missing");
        Some(SealWord::TreeDamaged.because(text))
    }

    /// Reports a signed head of more events than are sealed. A copy that replays the log of another server gets a
    /// moment to come to them.
    async fn ahead(&self) -> Result<Option<SealFinding>> {
        let Some(shrunk) = self.known.shrunk(self.tree.head.size) else { return Ok(None) };
        if self.engine.store().writable().await.is_ok() {
            return Ok(Some(shrunk));
        }
        let deadline = Instant::now() + CATCH_UP;
        while Instant::now() < deadline {
            let head = self.view.seal_trees(&self.tree.tenant).await?.pop().map_or(0, |tree| tree.head.size);
            if self.known.shrunk(head).is_none() {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(Some(shrunk))
    }

    fn facts(self, is_whole: bool, started: Instant) -> LogFacts {
        let root = |frontier: &Frontier| base64(&frontier.root());
        let is_as_sealed = self.findings.is_empty();
        let named = self.findings.named().iter().take(FINDINGS_MAX);
        let finding =
            |found: &SealFinding| LogFinding { word: found.word.as_str().to_owned(), message: found.message.clone() };
        LogFacts {
            tree: self.tree.tree,
            origin: self.tree.origin.clone(),
            since: self.since,
            size: self.tree.head.size,
            log_seq: self.tree.last,
            sealed_since: self.tree.sealed_since.clone(),
            root: base64(&self.tree.head.root),
            from_entries: is_whole.then(|| root(&self.grown.frontier)),
            as_sealed: is_as_sealed,
            events: self.events,
            erased: self.erased,
            checkpoints: self.checkpoints,
            newest_checkpoint: self.known.newest(),
            memories: self.known.memories().to_vec(),
            silent: self.known.silent.clone(),
            signatures_checked: self.known.has_keys,
            findings: named.map(finding).collect(),
            findings_total: self.findings.total,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

/// Finds the first stretch of 256 leaves of a frontier's first subtree that differs.
pub(super) fn first_wrong_chunk(stored: &Frontier, computed: &Frontier) -> u64 {
    let (size, mut start) = (stored.size(), 0);
    let heights = (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1);
    for (height, (one, other)) in heights.zip(stored.hashes().iter().zip(computed.hashes())) {
        if one != other {
            break;
        }
        start += 1 << height;
    }
    start / CHUNK_EVENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(leaves: u64, other: Option<u64>) -> Frontier {
        let mut frontier = Frontier::default();
        for leaf in 0..leaves {
            frontier.append(if other == Some(leaf) { [1; 32] } else { [0; 32] });
        }
        frontier
    }

    #[test]
    fn the_first_chunk_that_differs_is_found_in_the_frontier() {
        for (size, leaf, chunk) in [(98, 5, 0), (98, 97, 0), (600, 599, 2), (600, 511, 0), (1_300, 1_290, 5)] {
            let found = first_wrong_chunk(&frontier(size, None), &frontier(size, Some(leaf)));
            assert_eq!(found, chunk, "{leaf} of {size}");
        }
    }

    #[test]
    fn roots_are_noted_at_the_sizes_that_are_wanted() {
        let leaf = super::super::event_check::tests::leaf(&super::super::event_check::tests::event(1), 0);
        let hash = leaf.entry.leaf_hash();
        let wanted = VecDeque::from([1, 3, 300]);
        let grown = Grown { wanted, ..Grown::at(Frontier::default()) }.grow(&[leaf; 5]).grow(&[leaf; 600]);
        assert_eq!(grown.roots.keys().copied().collect::<Vec<_>>(), [0, 1, 3, 300]);
        assert_eq!(grown.roots[&1], hash);
        assert_eq!((grown.frontier.size(), grown.nodes.len()), (605, 2));
    }
}
