//! Signed notes that are known about a log: those of its database, of the journal, and of every place.
//!
//! *Guarantees.* With keys, only a note that one of them signed counts; another is a finding. A rotation that the newer
//! key signed makes the older key known, for the sizes before it. A memory that does not answer is named.
//!
//! *Never here:* the tree. The caller computes its roots.

use super::event_check::Erasures;
use super::finding::{Findings, SealFinding, SealWord};
use super::{Sealing, memory_check};
use crate::page::pure;
use decisiongraph_projections::Category;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::note::{Note, Signed, VerifierKey};
use decisiongraph_projections::seal::texts::{Erasure, Rotation, TreeHead};
use decisiongraph_seal::signatures::Signatures;
use decisiongraph_seal::{Folder, Objects, Place, PlaceError, Remembered};
use decisiongraph_store::{NoteKind, ReadView, Result, SealTree, StoreError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Name of the notes in the database.
pub const DATABASE: &str = "database";
/// Name of the journal, as [`Folder`] has it.
const JOURNAL: &str = "journal";
/// Longest wait for all notes of a memory.
const ANSWER: Duration = Duration::from_secs(60);
/// Notes per read from the database.
const NOTES_PAGE: usize = 1_000;

/// Memory of signed notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Database,
    Journal,
    Place,
}

impl Kind {
    /// Rank of a memory that is named for another root: a place is out of the reach of the database's administrators.
    fn rank(self) -> u8 {
        match self {
            Kind::Place => 0,
            Kind::Journal => 1,
            Kind::Database => 2,
        }
    }

    /// Rank of a memory that is named for a larger tree: the journal has what was signed last.
    fn rank_of_newest(self) -> u8 {
        match self {
            Kind::Journal => 0,
            Kind::Place => 1,
            Kind::Database => 2,
        }
    }
}

/// Memory that was asked, with its notes.
struct Asked {
    name: String,
    kind: Kind,
    notes: std::result::Result<Vec<Remembered>, PlaceError>,
}

/// Signed head of a tree.
#[derive(Debug, Clone)]
struct Head {
    head: TreeHead,
    at: String,
    /// Memory that is named for another root.
    memory: usize,
    /// Memory that is named for a larger tree.
    newest_in: usize,
}

/// Everything that is known about a log.
#[derive(Default)]
pub struct Known {
    /// Names and kinds of the memories that answered.
    memories: Vec<(String, Kind)>,
    /// Those of them that know a note.
    knowing: Vec<String>,
    /// Signed heads, by size.
    heads: Vec<Head>,
    /// Recorded erasures.
    pub erasures: Erasures,
    /// Findings about signatures.
    pub findings: Findings,
    /// Memories that did not answer, with the reason.
    pub silent: Vec<String>,
    /// True when signatures were checked: a key is known.
    pub has_keys: bool,
}

impl Known {
    /// Asks the database, the journal and every place; with `against`, that memory alone. A place is named as in the
    /// configuration; `dir:PATH` and `objects:PATH` need not be configured.
    pub async fn ask(
        view: &dyn ReadView,
        tree: &SealTree,
        sealing: Option<&Arc<Sealing>>,
        against: Option<&str>,
    ) -> Result<Known> {
        let mut asked = outside(sealing, &tree.origin, against).await?;
        if against.is_none_or(|against| against == DATABASE) {
            asked.push(Asked { name: DATABASE.to_owned(), kind: Kind::Database, notes: Ok(Vec::new()) });
        }
        let keys = sealing.map(|sealing| sealing.keys.verifiers(&tree.origin)).unwrap_or_default();
        let (mut findings, stored) = noted(view, tree, None).await?;
        if let Some(database) = asked.last_mut().filter(|asked| asked.kind == Kind::Database) {
            database.notes = Ok(stored);
        } else {
            findings = Findings::default();
        }
        pure(move || Known::of(asked, keys, findings)).await
    }

    /// Sorts what the memories answered.
    fn of(asked: Vec<Asked>, keys: Vec<VerifierKey>, findings: Findings) -> Known {
        let mut known = Known { findings, has_keys: !keys.is_empty(), ..Known::default() };
        let notes = || asked.iter().filter_map(|asked| asked.notes.as_ref().ok()).flatten();
        let keys = Keyring::of(keys, notes());
        for Asked { name, kind, notes } in asked {
            let notes = match notes {
                Ok(notes) => notes,
                Err(PlaceError::Away(reason)) => {
                    known.silent.push(format!("{name}: {reason}"));
                    continue;
                }
                Err(damaged) => {
                    known.findings.add(SealWord::SignatureInvalid.because(format!("{damaged} ({name})")));
                    continue;
                }
            };
            let memory = known.memories.len();
            known.knowing.extend((!notes.is_empty()).then(|| name.clone()));
            known.memories.push((name, kind));
            notes.into_iter().for_each(|note| known.take(note, memory, &keys));
        }
        let kind = |memory: usize| known.memories.get(memory).map_or(Kind::Database, |(_, kind)| *kind);
        known.heads.sort_by(|one, other| {
            let key = |head: &Head| (head.head.size, head.head.root, kind(head.memory).rank());
            key(one).cmp(&key(other))
        });
        known.heads.dedup_by(|next, kept| {
            if next.head == kept.head && kind(next.memory).rank_of_newest() < kind(kept.newest_in).rank_of_newest() {
                kept.newest_in = next.memory;
            }
            next.head == kept.head
        });
        known
    }

    fn take(&mut self, note: Remembered, memory: usize, keys: &Keyring) {
        let name = self.memories.get(memory).map_or("", |(name, _)| name.as_str());
        if self.has_keys
            && let Err(finding) = keys.check(&note, name)
        {
            self.findings.add(finding);
            return;
        }
        match note.kind {
            NoteKind::Checkpoint | NoteKind::Fork => {
                let head = note.head().map(|head| Head { head, at: note.at, memory, newest_in: memory });
                self.heads.extend(head);
            }
            NoteKind::Erasure => {
                let erasure = Note::parse(&note.note).ok().and_then(|note| Erasure::parse(note.text).ok());
                self.erasures.extend(erasure.map(|erasure| (erasure.index, erasure.entry)));
            }
            NoteKind::Statement | NoteKind::Rotation => {}
        }
    }

    /// Names the memories that answered, and know a note.
    pub fn memories(&self) -> &[String] {
        &self.knowing
    }

    /// Lists the sizes of the known heads above `since` and up to `size`, ascending.
    pub fn sizes(&self, since: u64, size: u64) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.heads.iter().map(|head| head.head.size).collect();
        sizes.retain(|known| *known > since && *known <= size);
        sizes.dedup();
        sizes
    }

    /// Lists the signed heads, by size.
    pub fn heads(&self) -> impl Iterator<Item = TreeHead> + '_ {
        self.heads.iter().map(|head| head.head)
    }

    /// Returns the size of the largest head.
    pub fn newest(&self) -> Option<u64> {
        self.heads.last().map(|head| head.head.size)
    }

    /// Reports a tree of fewer events than a signed head has.
    pub fn shrunk(&self, size: u64) -> Option<SealFinding> {
        let newest = self.newest().filter(|newest| *newest > size)?;
        let ahead = self.heads.iter().filter(|head| head.head.size == newest);
        let rank = |head: &&Head| self.kind(head.newest_in).rank_of_newest();
        let head = ahead.min_by_key(rank)?;
        Some(self.shown(head, head.newest_in).shrunk(size))
    }

    /// Compares the roots of a tree, at sizes of [`Known::sizes`], with the known heads. Reports the smallest that
    /// differs, and the largest below it that fits.
    pub fn judge(&self, roots: &BTreeMap<u64, Hash>) -> Option<SealFinding> {
        let compared = |head: &&Head| roots.get(&head.head.size).map(|root| *root == head.head.root);
        let differs = self.heads.iter().filter(|head| compared(head) == Some(false));
        let smallest = differs.clone().map(|head| head.head.size).min()?;
        let rank = |head: &&Head| self.kind(head.memory).rank();
        let head = differs.filter(|head| head.head.size == smallest).min_by_key(rank)?;
        let fits = self.heads.iter().filter(|head| compared(head) == Some(true)).map(|head| head.head.size);
        let fits = fits.filter(|size| *size < smallest).max();
        Some(self.shown(head, head.memory).differs(roots.get(&smallest)?, fits, smallest))
    }

    /// Counts the heads that these roots were compared with.
    pub fn compared(&self, roots: &BTreeMap<u64, Hash>) -> u64 {
        self.heads.iter().filter(|head| roots.contains_key(&head.head.size)).count() as u64
    }

    fn kind(&self, memory: usize) -> Kind {
        self.memories.get(memory).map_or(Kind::Database, |(_, kind)| *kind)
    }

    fn shown(&self, head: &Head, memory: usize) -> memory_check::Known {
        let memory = self.memories.get(memory).map(|(name, _)| name.clone()).unwrap_or_default();
        memory_check::Known { memory, head: head.head, at: head.at.clone() }
    }
}

/// Keys that sign for a log, each with the last size that it signs.
struct Keyring(Vec<(VerifierKey, u64)>);

impl Keyring {
    /// Begins with these keys, and goes back from rotation to rotation.
    fn of<'n>(keys: Vec<VerifierKey>, notes: impl Iterator<Item = &'n Remembered>) -> Keyring {
        let mut keyring = Keyring(keys.into_iter().map(|key| (key, u64::MAX)).collect());
        let mut rotations: Vec<&str> =
            notes.filter(|note| note.kind == NoteKind::Rotation).map(|note| note.note.as_str()).collect();
        rotations.sort_unstable();
        rotations.dedup();
        loop {
            let before = keyring.0.len();
            rotations.retain(|note| !keyring.rotate(note));
            if keyring.0.len() == before {
                return keyring;
            }
        }
    }

    /// Takes a rotation that a known key signed. True when the note need not be looked at again.
    fn rotate(&mut self, note: &str) -> bool {
        let Ok(note) = Note::parse(note) else { return true };
        let Ok(rotation) = Rotation::parse(note.text) else { return true };
        if !self.0.iter().any(|(key, _)| *key == rotation.new) {
            return false;
        }
        let signed = |key: &VerifierKey| note.signed_by(key, &Signatures) == Ok(Signed::Yes);
        let is_new = !self.0.iter().any(|(key, _)| *key == rotation.old);
        if is_new && signed(&rotation.new) && signed(&rotation.old) {
            self.0.push((rotation.old, rotation.head.size));
        }
        true
    }

    /// Checks the signatures of a note.
    fn check(&self, note: &Remembered, memory: &str) -> std::result::Result<(), SealFinding> {
        let named = format!("the {} for {} ({memory})", note.kind.as_str(), note.size);
        let not_one = |_| SealWord::SignatureInvalid.because(format!("{named} is not a signed note"));
        let text = Note::parse(&note.note).map_err(not_one)?;
        let mut is_signed = false;
        for (key, upto) in &self.0 {
            match text.signed_by(key, &Signatures) {
                Ok(Signed::Not) => {}
                Ok(_) => is_signed |= note.size <= *upto,
                Err(wrong) => return Err(SealWord::SignatureInvalid.because(format!("{named}: {wrong}"))),
            }
        }
        match is_signed {
            true => Ok(()),
            false => Err(SealWord::SignatureMissing.because(format!("{named} is not signed by a known key"))),
        }
    }
}

/// Reads the erasures that signed notes of the database record.
pub(super) async fn erasures(view: &dyn ReadView, tree: &SealTree, sealing: Option<&Arc<Sealing>>) -> Result<Erasures> {
    let (_, notes) = noted(view, tree, Some(NoteKind::Erasure)).await?;
    let keys = sealing.map(|sealing| sealing.keys.verifiers(&tree.origin)).unwrap_or_default();
    let asked = Asked { name: DATABASE.to_owned(), kind: Kind::Database, notes: Ok(notes) };
    Ok(Known::of(vec![asked], keys, Findings::default()).erasures)
}

/// Reads the notes of the database about a tree, of one kind or of all. A note that is not of its kind is a finding.
async fn noted(view: &dyn ReadView, tree: &SealTree, kind: Option<NoteKind>) -> Result<(Findings, Vec<Remembered>)> {
    let (mut findings, mut found, mut before) = (Findings::default(), Vec::new(), None);
    loop {
        let page = view.seal_notes(&tree.tenant, tree.tree, kind, before, NOTES_PAGE).await?;
        let Some(last) = page.last() else { return Ok((findings, found)) };
        before = Some(last.number);
        for stored in page {
            let facts = Remembered::of(&stored.note, &stored.noted_at).unwrap_or_default();
            let note = facts.into_iter().find(|note| note.kind == stored.kind && note.origin == tree.origin);
            match note {
                Some(note) => found.push(note),
                None => {
                    let (kind, size) = (stored.kind.as_str(), stored.size);
                    let text = format!("the {kind} for {size} ({DATABASE}) is not a signed note of this log");
                    findings.add(SealWord::SignatureInvalid.because(text));
                }
            }
        }
    }
}

/// Asks the memories outside the database for everything that they know about a log, all at once.
async fn outside(sealing: Option<&Arc<Sealing>>, origin: &str, against: Option<&str>) -> Result<Vec<Asked>> {
    if against == Some(DATABASE) {
        return Ok(Vec::new());
    }
    let configured = sealing.map_or(0, |sealing| sealing.memory.sources().count());
    let mut questions = Vec::new();
    for number in 0..configured {
        let Some(sealing) = sealing else { break };
        let name = sealing.memory.sources().nth(number).map(Place::name).unwrap_or_default();
        if against.is_none_or(|against| against == name) {
            let (sealing, origin) = (Arc::clone(sealing), origin.to_owned());
            let ask = move || sealing.memory.sources().nth(number).map_or(Ok(Vec::new()), |place| all(place, &origin));
            questions.push((name, ask_within(ask)));
        }
    }
    if let (Some(against), true) = (against, questions.is_empty()) {
        let place = place_of(against).ok_or_else(|| unknown(against, sealing))?;
        let origin = origin.to_owned();
        let asked = ask_within(move || all(&*place, &origin)).await;
        return Ok(vec![Asked { name: against.to_owned(), kind: Kind::Place, notes: asked }]);
    }
    let answers = questions.into_iter().map(async |(name, answer)| {
        let kind = if name == JOURNAL { Kind::Journal } else { Kind::Place };
        Asked { name, kind, notes: answer.await }
    });
    Ok(futures_util::future::join_all(answers).await)
}

fn all(place: &dyn Place, origin: &str) -> std::result::Result<Vec<Remembered>, PlaceError> {
    let mut notes = Vec::new();
    place.each(origin, &mut |note| notes.push(note))?;
    Ok(notes)
}

async fn ask_within(
    ask: impl FnOnce() -> std::result::Result<Vec<Remembered>, PlaceError> + Send + 'static,
) -> std::result::Result<Vec<Remembered>, PlaceError> {
    match tokio::time::timeout(ANSWER, tokio::task::spawn_blocking(ask)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(broken)) => Err(PlaceError::Away(broken.to_string())),
        Err(_) => Err(PlaceError::Away(format!("no answer within {ANSWER:?}"))),
    }
}

/// Opens a place that is named by its kind and path.
fn place_of(text: &str) -> Option<Box<dyn Place>> {
    match text.split_once(':')? {
        ("dir", path) if !path.is_empty() => Some(Box::new(Folder::new(Path::new(path)))),
        ("objects", path) if !path.is_empty() => Some(Box::new(Objects::new(Path::new(path)))),
        _ => None,
    }
}

/// Names the memories outside the database that this process is configured with.
pub fn configured(sealing: Option<&Arc<Sealing>>) -> Vec<String> {
    sealing.map(|sealing| sealing.memory.sources().map(Place::name).collect()).unwrap_or_default()
}

fn unknown(against: &str, sealing: Option<&Arc<Sealing>>) -> StoreError {
    let mut known = configured(sealing);
    known.push(DATABASE.to_owned());
    let message =
        format!("`{against}` is not a memory of this seal: {}, dir:PATH and objects:PATH are", known.join(", "));
    StoreError::new(Category::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::seal::base64;
    use decisiongraph_seal::key::SigningKey;
    use decisiongraph_seal::{SigningKeys, rotation};

    const ORIGIN: &str = "log.example/7f1c";

    fn key(seed: u8) -> SigningKey {
        SigningKey::of_seed("log.example", &[seed; 32]).expect("a key")
    }

    fn checkpoint(seed: u8, size: u64, root: u8) -> Remembered {
        let head = TreeHead { size, root: [root; 32] };
        SigningKeys::of(key(seed)).checkpoint(ORIGIN, head, false, "2026-11-29T10:00:00Z").expect("signed")
    }

    fn known(asked: &[(&str, Kind, &[Remembered])], seed: Option<u8>) -> Known {
        let asked = asked.iter().map(|(name, kind, notes)| Asked {
            name: (*name).to_owned(),
            kind: *kind,
            notes: Ok(notes.to_vec()),
        });
        let keys = seed.map(|seed| key(seed).verifier(ORIGIN)).into_iter().collect();
        Known::of(asked.collect(), keys, Findings::default())
    }

    #[test]
    fn the_smallest_head_that_differs_is_named_by_the_memory_that_is_hardest_to_reach() {
        let heads = [checkpoint(1, 60, 6), checkpoint(1, 98, 9)];
        let known = known(&[("journal", Kind::Journal, &heads), ("dir:/seals", Kind::Place, &heads)], Some(1));
        assert!(known.findings.is_empty() && known.shrunk(98).is_none());
        assert_eq!((known.sizes(0, 98), known.sizes(60, 97)), (vec![60, 98], vec![]));
        let roots = BTreeMap::from([(60, [6; 32]), (98, [8; 32])]);
        assert_eq!(known.compared(&roots), 2);
        let (root, other) = (base64(&[8; 32]), base64(&[9; 32]));
        let line = format!(
            "checkpoint_differs: at 98 events the tree has {root}, the checkpoint signed at 2026-11-29T10:00:00Z has \
             {other} (dir:/seals); the one at 60 fits: the first change is in leaves 60 to 97"
        );
        assert_eq!(known.judge(&roots).expect("a finding").message, line);
        let well = BTreeMap::from([(60, [6; 32]), (98, [9; 32])]);
        assert_eq!(known.judge(&well), None);
        let shrunk = known.shrunk(60).expect("a finding").message;
        let line =
            "tree_shrunk: 60 events are sealed here, a checkpoint for 98 was signed at 2026-11-29T10:00:00Z (journal)";
        assert_eq!(shrunk, line);
    }

    #[test]
    fn a_note_of_another_key_and_a_changed_note_do_not_count() {
        let changed = |note: Remembered| Remembered { note: note.note.replacen("\n98\n", "\n99\n", 1), ..note };
        let notes = [checkpoint(1, 60, 6), checkpoint(2, 97, 9), changed(checkpoint(1, 98, 9))];
        let known = known(&[("dir:/seals", Kind::Place, &notes)], Some(1));
        assert_eq!(known.newest(), Some(60));
        let found: Vec<&str> = known.findings.named().iter().map(|found| found.message.as_str()).collect();
        let missing = "signature_missing: the checkpoint for 97 (dir:/seals) is not signed by a known key";
        let invalid = "signature_invalid: the checkpoint for 98 (dir:/seals): the signature is wrong: the note was \
                       changed after it was signed";
        assert_eq!(found, [missing, invalid]);
    }

    #[test]
    fn a_rotation_makes_the_older_key_known_up_to_its_size() {
        let head = TreeHead { size: 70, root: [7; 32] };
        let turn = rotation(ORIGIN, head, &key(1), &key(2), "2026-11-29T10:00:00Z").expect("signed");
        let notes = [checkpoint(1, 60, 6), turn, checkpoint(1, 80, 8), checkpoint(2, 98, 9)];
        let known = known(&[("dir:/seals", Kind::Place, &notes)], Some(2));
        assert_eq!(known.sizes(0, 98), [60, 98]);
        assert_eq!(known.findings.total, 1, "a replaced key signs no larger head: {:?}", known.findings);
        let without = super::tests::known(&[("dir:/seals", Kind::Place, &notes[..1])], Some(2));
        assert_eq!(without.findings.total, 1, "nobody told that the key was replaced");
    }
}
