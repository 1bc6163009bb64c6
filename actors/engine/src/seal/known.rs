//! Signed notes that are known about a log: those of its database, of the journal, and of every place.
//!
//! ```text
//!   rotations ─▶ keys ─▶ notes, one by one ─▶ a stretch of heads ─▶ compared with roots ─▶ the next stretch
//! ```
//!
//! *Guarantees.* With keys, only a note that one of them signed counts; another is a finding. A rotation that the newer
//! key signed makes the older key known, for the sizes before it. A memory that does not answer is named. Every head is
//! compared, and a stretch of them is in memory: of a log with more, the memories are read again for each stretch.
//!
//! *Never here:* the tree. The caller computes its roots.

use super::event_check::{Erasures, Recorded, record};
use super::finding::{Findings, SealFinding, SealWord};
use super::heads::{HEADS_MAX, Head, Heads, Memory};
use super::keyring::Keyring;
use super::memories::{Answer, Source};
pub use super::memories::{DATABASE, configured};
use super::{Sealing, memory_check};
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::note::{Note, VerifierKey};
use decisiongraph_projections::seal::texts::{Erasure, TreeHead};
use decisiongraph_seal::{PlaceError, Remembered};
use decisiongraph_store::{NoteKind, ReadView, Result, SealTree};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that is known about a log.
pub struct Known {
    tree: SealTree,
    /// Memories that were asked, by their numbers.
    sources: Vec<Source>,
    keys: Arc<Keyring>,
    /// Names of the memories that know a note.
    knowing: Vec<String>,
    /// Signed heads that are not compared yet, by size.
    heads: Heads,
    compared: Compared,
    /// Recorded erasures.
    pub erasures: Erasures,
    /// Findings about signatures.
    pub findings: Findings,
    /// Memories that did not answer, with the reason.
    pub silent: Vec<String>,
    /// True when signatures were checked: a key is known.
    pub has_keys: bool,
}

/// Result of the comparison of heads with roots.
#[derive(Default, Clone)]
struct Compared {
    heads: u64,
    /// Largest size that fits, below the first one that differs.
    fits: Option<u64>,
    differs: Option<SealFinding>,
}

/// Notes of a memory, as they are read.
struct Gathered {
    memory: Memory,
    name: String,
    keys: Arc<Keyring>,
    /// True when findings and erasures are known from another reading.
    again: bool,
    knows: bool,
    heads: Heads,
    erasures: Erasures,
    findings: Findings,
}

impl Gathered {
    fn new(number: usize, source: &Source, keys: Arc<Keyring>, heads: Heads, again: bool) -> Gathered {
        Gathered {
            memory: Memory { number, kind: source.kind },
            name: source.name.clone(),
            keys,
            again,
            knows: false,
            heads,
            erasures: Erasures::default(),
            findings: Findings::default(),
        }
    }

    fn take(&mut self, note: std::result::Result<Remembered, SealFinding>) {
        let note = match note {
            Ok(note) => note,
            Err(finding) => return self.findings.add(finding),
        };
        self.knows = true;
        let is_head = matches!(note.kind, NoteKind::Checkpoint | NoteKind::Fork);
        if self.again && !(is_head && self.heads.wants(note.size)) {
            return;
        }
        if !self.keys.is_empty()
            && let Err(finding) = self.keys.check(&note, &self.name)
        {
            return self.findings.add(finding);
        }
        match note.kind {
            NoteKind::Checkpoint | NoteKind::Fork => {
                let (memory, newest_in) = (self.memory, self.memory);
                let head = note.head().map(|head| Head { head, at: note.at.into(), memory, newest_in });
                head.into_iter().for_each(|head| self.heads.take(head));
            }
            NoteKind::Erasure => {
                let erasure = Note::parse(&note.note).ok().and_then(|note| Erasure::parse(note.text).ok());
                if let Some(Erasure { index, entry, erased, .. }) = erasure {
                    record(&mut self.erasures, index, Recorded { entry, erased });
                }
            }
            NoteKind::Statement | NoteKind::Rotation => {}
        }
    }
}

impl Known {
    /// Asks the database, the journal and every place; with `against`, that memory alone. Heads below `since` are left
    /// out.
    pub async fn ask(
        view: &dyn ReadView,
        tree: &SealTree,
        sealing: Option<&Arc<Sealing>>,
        against: Option<&str>,
        since: u64,
    ) -> Result<Known> {
        let keys = sealing.map(|sealing| sealing.keys.verifiers(&tree.origin)).unwrap_or_default();
        Known::of(view, tree, Source::all(sealing, against)?, keys, Heads::new(since.max(1), HEADS_MAX)).await
    }

    async fn of(
        view: &dyn ReadView,
        tree: &SealTree,
        sources: Vec<Source>,
        keys: Vec<VerifierKey>,
        heads: Heads,
    ) -> Result<Known> {
        let has_keys = !keys.is_empty();
        let (mut rotations, mut faults) = (Vec::new(), BTreeMap::new());
        if has_keys {
            let kind = Some(NoteKind::Rotation);
            let read = sources.iter().map(|source| source.read(view, tree, kind, Vec::new(), take_rotation));
            for (number, read) in join_all(read).await.into_iter().enumerate() {
                match read? {
                    Ok(notes) => rotations.extend(notes),
                    Err(fault) => drop(faults.insert(number, fault)),
                }
            }
        }
        let mut known = Known {
            tree: tree.clone(),
            sources,
            keys: Arc::new(Keyring::of(keys, rotations)),
            knowing: Vec::new(),
            heads: heads.clone(),
            compared: Compared::default(),
            erasures: Erasures::default(),
            findings: Findings::default(),
            silent: Vec::new(),
            has_keys,
        };
        for (source, answer) in known.gather(view, &heads, false, faults).await? {
            match answer {
                Ok(gathered) => {
                    known.knowing.extend(gathered.knows.then_some(source));
                    known.heads.join(gathered.heads);
                    for (index, of_leaf) in gathered.erasures {
                        of_leaf.into_iter().for_each(|recorded| record(&mut known.erasures, index, recorded));
                    }
                    known.findings.join(gathered.findings);
                }
                Err(PlaceError::Away(reason)) => known.silent.push(format!("{source}: {reason}")),
                Err(damaged) => {
                    known.findings.add(SealWord::SignatureInvalid.because(format!("{damaged} ({source})")));
                }
            }
        }
        Ok(known)
    }

    /// Reads all memories at once, those with a fault excepted.
    async fn gather(
        &self,
        view: &dyn ReadView,
        heads: &Heads,
        again: bool,
        mut faults: BTreeMap<usize, PlaceError>,
    ) -> Result<Vec<(String, Answer<Gathered>)>> {
        let mut questions = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let gathered = Gathered::new(number, source, Arc::clone(&self.keys), heads.clone(), again);
            let fault = faults.remove(&number);
            questions.push(async move {
                let answer = match fault {
                    Some(fault) => Err(fault),
                    None => source.read(view, &self.tree, None, gathered, Gathered::take).await?,
                };
                Ok((source.name.clone(), answer))
            });
        }
        join_all(questions).await.into_iter().collect()
    }

    /// Reads heads on, until all of at most this size are here. A memory that fails now is named.
    pub async fn extend(&mut self, view: &dyn ReadView, size: u64) -> Result<()> {
        while self.heads.upto() < size {
            let mut next = self.heads.after();
            for (source, answer) in self.gather(view, &next.clone(), true, BTreeMap::new()).await? {
                match answer {
                    Ok(gathered) => next.join(gathered.heads),
                    Err(fault) if !self.silent.iter().any(|silent| silent.starts_with(&format!("{source}: "))) => {
                        self.silent.push(format!("{source}: {fault}"));
                    }
                    Err(_) => {}
                }
            }
            self.heads.append(next);
        }
        Ok(())
    }

    /// Takes the heads that are here, or that follow. None: all were taken.
    pub async fn next(&mut self, view: &dyn ReadView) -> Result<Vec<TreeHead>> {
        if self.heads.list().is_empty() && self.heads.upto() < u64::MAX {
            self.extend(view, self.heads.upto() + 1).await?;
        }
        let heads = self.heads().collect();
        self.heads.forget(u64::MAX);
        Ok(heads)
    }

    /// Goes to the heads from this size on, and forgets what was compared.
    pub async fn seek(&mut self, view: &dyn ReadView, size: u64) -> Result<()> {
        self.compared = Compared::default();
        if self.heads.upto() < size {
            self.heads.forget(u64::MAX);
            self.heads.skip(size);
            self.extend(view, size).await?;
        }
        Ok(())
    }

    /// Names the memories that answered, and know a note.
    pub fn memories(&self) -> &[String] {
        &self.knowing
    }

    /// Lists the sizes of the heads that are here above `since` and up to `size`, ascending.
    pub fn sizes(&self, since: u64, size: u64) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.heads().map(|head| head.size).collect();
        sizes.retain(|known| *known > since && *known <= size);
        sizes.dedup();
        sizes
    }

    /// Lists the signed heads that are here, by size.
    pub fn heads(&self) -> impl Iterator<Item = TreeHead> + '_ {
        self.heads.list().iter().map(|head| head.head)
    }

    /// Returns the largest head.
    pub fn newest_head(&self) -> Option<TreeHead> {
        self.heads.newest().first().map(|head| head.head)
    }

    /// Returns the size of the largest head.
    pub fn newest(&self) -> Option<u64> {
        self.newest_head().map(|head| head.size)
    }

    /// Reports a tree of fewer events than a signed head has.
    pub fn shrunk(&self, size: u64) -> Option<SealFinding> {
        self.newest().filter(|newest| *newest > size)?;
        let rank = |head: &&Head| head.newest_in.kind.rank_of_newest();
        let head = self.heads.newest().iter().min_by_key(rank)?;
        Some(self.shown(head, head.newest_in).shrunk(size))
    }

    /// Reports the erasure of a leaf that a tree of this size does not have.
    pub fn erased_beyond(&self, size: u64) -> Option<SealFinding> {
        let index = self.erasures.keys().next_back().filter(|index| **index >= size)?;
        let text = format!("{size} events are sealed here, an erasure of leaf {index} was signed");
        Some(SealWord::TreeShrunk.because(text))
    }

    /// Compares the heads up to this size with the roots of a tree, and forgets them.
    pub fn compare(&mut self, roots: &BTreeMap<u64, Hash>, upto: u64) {
        self.compared = self.compared_with(roots, upto);
        self.heads.forget(upto);
    }

    /// Compares the heads that are here with the roots of a tree. Reports the smallest that differs, and the largest
    /// below it that fits, of these and of those that were compared before.
    pub fn judge(&self, roots: &BTreeMap<u64, Hash>) -> Option<SealFinding> {
        self.compared_with(roots, u64::MAX).differs
    }

    /// Counts the heads that were compared, with these roots and before.
    pub fn compared(&self, roots: &BTreeMap<u64, Hash>) -> u64 {
        self.compared_with(roots, u64::MAX).heads
    }

    fn compared_with(&self, roots: &BTreeMap<u64, Hash>, upto: u64) -> Compared {
        let mut compared = self.compared.clone();
        // The heads of one size lie together.
        for same in self.heads.list().chunk_by(|one, other| one.head.size == other.head.size) {
            let Some(size) = same.first().map(|head| head.head.size).filter(|size| *size <= upto) else { break };
            let Some(root) = roots.get(&size) else { continue };
            compared.heads += same.len() as u64;
            if compared.differs.is_some() {
                continue;
            }
            let rank = |head: &&Head| head.memory.kind.rank();
            match same.iter().filter(|head| head.head.root != *root).min_by_key(rank) {
                Some(head) => {
                    compared.differs = Some(self.shown(head, head.memory).differs(root, compared.fits, size));
                }
                None => compared.fits = Some(size),
            }
        }
        compared
    }

    fn shown(&self, head: &Head, memory: Memory) -> memory_check::Known {
        let memory = self.sources.get(memory.number).map(|source| source.name.clone()).unwrap_or_default();
        memory_check::Known { memory, head: head.head, at: head.at.to_string() }
    }
}

fn take_rotation(notes: &mut Vec<String>, note: std::result::Result<Remembered, SealFinding>) {
    notes.extend(note.ok().map(|note| note.note));
}

/// Reads the erasures that signed notes of the database record.
pub(super) async fn erasures(view: &dyn ReadView, tree: &SealTree, sealing: Option<&Arc<Sealing>>) -> Result<Erasures> {
    let keys = sealing.map(|sealing| sealing.keys.verifiers(&tree.origin)).unwrap_or_default();
    let source = Source::database();
    let rotations = match keys.is_empty() {
        true => Ok(Vec::new()),
        false => source.read(view, tree, Some(NoteKind::Rotation), Vec::new(), take_rotation).await?,
    };
    let keys = Keyring::of(keys, rotations.unwrap_or_default());
    let gathered = Gathered::new(0, &source, Arc::new(keys), Heads::new(1, 1), false);
    let gathered = source.read(view, tree, Some(NoteKind::Erasure), gathered, Gathered::take).await?;
    Ok(gathered.map(|gathered| gathered.erasures).unwrap_or_default())
}

#[cfg(test)]
mod tests;
