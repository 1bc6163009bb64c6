//! The memory check: a tree must continue every head that any memory knows, before it grows or is signed after a claim.
//!
//! Memories are the journal of this node, every place that answers, the journals of linked nodes, and the notes of the
//! database itself.
//!
//! *Guarantees.* A smaller tree is `tree_shrunk`, another root at a remembered size is `checkpoint_differs`. Unless the
//! tree was never signed, one memory outside the database has to know it. A memory that does not answer is named in the
//! log. Peers are asked for [`PEERS_WAIT`] at most.
//!
//! *Never here:* signatures. A memory is trusted to hold what was written to it; `verify` checks what it holds.

use super::Sealing;
use super::finding::{SealFinding, SealWord};
use super::reader::TreeReader;
use decisiongraph_projections::Category;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead};
use decisiongraph_projections::seal::{Hash, base64};
use decisiongraph_protocol::SEAL_FORGOTTEN;
use decisiongraph_seal::{Place, Remembered};
use decisiongraph_store::{NoteKind, ReadView, Result, SealTree, StoreError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a memory.
const ANSWER: Duration = Duration::from_secs(5);
/// Name of the journal in findings.
const JOURNAL: &str = "journal";
/// Name of the database's own notes in findings.
const DATABASE: &str = "the database's notes";
/// Longest wait for the journals of linked nodes.
pub const PEERS_WAIT: Duration = Duration::from_secs(1);

/// Journals of the nodes that this one is linked to.
pub trait Peers: Send + Sync {
    /// Asks every linked node for the newest head of this origin, by [`PEERS_WAIT`]. Answers with the names of the
    /// nodes, and what [`newest_line`] gives there.
    fn newest<'a>(&'a self, origin: &'a str) -> BoxFuture<'a, Vec<(String, PeerAnswer)>>;
}

/// Answer of a peer: the line of its newest head of a log, or the reason why there is none.
pub type PeerAnswer = std::result::Result<Option<String>, String>;

/// A head that a memory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Name of the memory.
    pub memory: String,
    /// Size and root.
    pub head: TreeHead,
    /// Time at which it was signed.
    pub at: String,
}

impl Known {
    /// Takes the head of a remembered note; none of a note without one.
    pub fn of(memory: &str, note: &Remembered) -> Option<Known> {
        let head = TreeHead { size: note.size, root: note.root? };
        Some(Known { memory: memory.to_owned(), head, at: note.at.clone() })
    }

    /// Reports a tree of fewer events.
    pub fn shrunk(&self, size: u64) -> SealFinding {
        let Known { memory, head, at } = self;
        let signed = format!("a checkpoint for {} was signed at {at} ({memory})", head.size);
        SealWord::TreeShrunk.because(format!("{size} events are sealed here, {signed}"))
    }

    /// Reports a tree that has this root instead. `fits` is the largest remembered size below that fits, and `differs`
    /// the smallest that does not.
    pub fn differs(&self, root: &Hash, fits: Option<u64>, differs: u64) -> SealFinding {
        let Known { memory, head, at } = self;
        let last = differs.saturating_sub(1);
        let stretch = match fits {
            Some(fits) => format!("the one at {fits} fits: the first change is in leaves {fits} to {last}"),
            None => format!("no earlier one is known: the first change is in leaves 0 to {last}"),
        };
        let (root, other) = (base64(root), base64(&head.root));
        SealWord::CheckpointDiffers.because(format!(
            "at {} events the tree has {root}, the checkpoint signed at {at} has {other} ({memory}); {stretch}",
            head.size
        ))
    }
}

/// Checks the tree against every memory. None: it continues all of them.
pub async fn check(view: &dyn ReadView, sealing: &Arc<Sealing>, tree: &SealTree) -> Result<Option<SealFinding>> {
    let (mut known, mut silent, mut blank) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_known, mut answered) = (false, false);
    for (memory, remembers, answer) in asked(sealing, &tree.origin).await {
        match answer {
            Ok(Some(newest)) => {
                (is_known, answered) = (is_known || remembers, answered || remembers);
                known.extend(Known::of(&memory, &newest));
            }
            Ok(None) => {
                answered |= remembers;
                blank.push(format!("{memory}: it does not know this log"));
            }
            Err(fault) => silent.push(format!("{memory}: {fault}")),
        }
    }
    if !silent.is_empty() {
        let silent = silent.join(", ");
        tracing::warn!(tenant = %tree.tenant, "memories of the seal did not answer: {silent}");
    }
    // A log that was never signed is in no memory. One that was signed must be in one: a journal that was lost is
    // empty, and remembers nothing.
    let suffices = if tree.noted > 0 { is_known } else { answered };
    if !suffices && tree.head.size > 0 {
        let message = format!("{SEAL_FORGOTTEN}: {}", [blank, silent].concat().join("; "));
        return Err(StoreError::new(Category::Conflict, message));
    }
    known.extend(noted(view, tree).await?);
    let ahead = known.iter().filter(|known| known.head.size > tree.head.size).max_by_key(|known| known.head.size);
    if let Some(ahead) = ahead {
        return Ok(Some(ahead.shrunk(tree.head.size)));
    }
    let reader = TreeReader::new(view, &tree.tenant, tree.tree, tree.head.size);
    for known in &known {
        let root = match reader.root_at(known.head.size).await {
            Ok(root) => root,
            Err(error) => return finding_of(error).map(Some),
        };
        if root != known.head.root {
            return first_change(&reader, sealing, tree, known, root).await.map(Some);
        }
    }
    Ok(None)
}

/// Takes the finding out of the error that a reader makes of it.
fn finding_of(error: StoreError) -> Result<SealFinding> {
    match SealWord::of_message(&error.message) {
        Some(word) => Ok(SealFinding { word, message: error.message }),
        None => Err(error),
    }
}

/// Answer of a memory: its newest head of a log, or the reason why there is none.
type Answer = std::result::Result<Option<Remembered>, String>;

/// Asks every memory outside the database for its newest head of a log, all at once. True beside an answer that counts
/// as memory.
async fn asked(sealing: &Arc<Sealing>, origin: &str) -> Vec<(String, bool, Answer)> {
    let mut asked = vec![(JOURNAL.to_owned(), true, answer(sealing, None, origin))];
    for (index, place) in sealing.memory.places.iter().enumerate() {
        asked.push((place.name(), place.remembers(), answer(sealing, Some(index), origin)));
    }
    let answers = asked.into_iter().map(async |(name, remembers, answer)| (name, remembers, answer.await));
    let (mut answers, peers) = tokio::join!(futures_util::future::join_all(answers), of_peers(sealing, origin));
    answers.extend(peers.into_iter().map(|(name, answer)| (name, true, answer)));
    answers
}

/// Asks the linked nodes for their newest heads of a log.
pub(super) async fn of_peers(sealing: &Sealing, origin: &str) -> Vec<(String, Answer)> {
    let Some(peers) = sealing.peers() else { return Vec::new() };
    // The peers keep the time themselves. This is the promise that nothing waits longer.
    let Ok(answers) = tokio::time::timeout(PEERS_WAIT * 2, peers.newest(origin)).await else {
        return vec![("the linked nodes".to_owned(), Err(format!("no answer within {PEERS_WAIT:?}")))];
    };
    answers.into_iter().map(|(node, answer)| (format!("peer:{node}"), of_peer(answer, origin))).collect()
}

fn of_peer(answer: PeerAnswer, origin: &str) -> Answer {
    let Some(line) = answer? else { return Ok(None) };
    let note = Remembered::parse(line.trim_end().as_bytes()).filter(|note| note.origin == origin);
    note.map(Some).ok_or_else(|| "its answer is not a signed note of this log".to_owned())
}

/// Returns the line of the newest head that the journal of this process has of a log, for a peer that asks.
pub async fn newest_line(sealing: &Arc<Sealing>, origin: &str) -> PeerAnswer {
    Ok(answer(sealing, None, origin).await?.map(|note| note.line()))
}

/// Asks one memory: the journal, or the place of this number.
async fn answer(sealing: &Arc<Sealing>, place: Option<usize>, origin: &str) -> Answer {
    let (sealing, origin) = (Arc::clone(sealing), origin.to_owned());
    let ask = move || match place {
        None => sealing.memory.journal.newest(&origin),
        Some(place) => sealing.memory.places.get(place).map_or(Ok(None), |place| place.newest(&origin)),
    };
    match tokio::time::timeout(ANSWER, tokio::task::spawn_blocking(ask)).await {
        Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
        Ok(Err(broken)) => Err(broken.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}

/// Reads the newest checkpoint among the notes of the database. A note that is none is left to `verify`.
async fn noted(view: &dyn ReadView, tree: &SealTree) -> Result<Option<Known>> {
    let notes = view.seal_notes(&tree.tenant, tree.tree, Some(NoteKind::Checkpoint), None, 1).await?;
    let known = notes.into_iter().next().and_then(|note| {
        let head = Checkpoint::parse(Note::parse(&note.note).ok()?.text).ok()?.head;
        Some(Known { memory: DATABASE.to_owned(), head, at: note.noted_at })
    });
    Ok(known)
}

/// Looks through what the memories know below the head that differs, for the largest size that fits. What fits at a
/// size fits below it, so few roots are computed.
async fn first_change(
    reader: &TreeReader<'_>,
    sealing: &Arc<Sealing>,
    tree: &SealTree,
    known: &Known,
    root: Hash,
) -> Result<SealFinding> {
    let mut below = remembered(sealing, &tree.origin, known.head.size).await;
    below.sort_unstable_by_key(|head| head.size);
    below.dedup_by_key(|head| head.size);
    let (mut fits, mut differs, mut low, mut high) = (None, known.head.size, 0, below.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(head) = below.get(middle) else { break };
        match reader.root_at(head.size).await? == head.root {
            true => (fits, low) = (Some(head.size), middle + 1),
            false => (differs, high) = (head.size, middle),
        }
    }
    Ok(known.differs(&root, fits, differs))
}

/// Lists the heads below this size that journal and places know.
async fn remembered(sealing: &Arc<Sealing>, origin: &str, below: u64) -> Vec<TreeHead> {
    let (sealing, origin) = (Arc::clone(sealing), origin.to_owned());
    let read = move || {
        let mut heads = Vec::new();
        for place in sealing.memory.sources() {
            // Notes that a place gives before it fails are true as well.
            let _ = place.each(&origin, &mut |note| heads.extend(note.head().filter(|head| head.size < below)));
        }
        heads
    };
    let read = tokio::time::timeout(ANSWER, tokio::task::spawn_blocking(read)).await;
    read.ok().and_then(std::result::Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_seal::SigningKeys;
    use decisiongraph_seal::key::SigningKey;

    #[test]
    fn an_answer_of_a_peer_is_a_note_of_the_log_or_a_reason() {
        let keys = SigningKeys::of(SigningKey::of_seed("log.example", &[7; 32]).expect("a key"));
        let head = TreeHead { size: 98, root: [1; 32] };
        let note = keys.checkpoint("log.example/a", head, false, "2026-12-01T00:00:00Z").expect("signed");
        assert_eq!(of_peer(Ok(None), "log.example/a"), Ok(None));
        assert_eq!(of_peer(Ok(Some(note.line())), "log.example/a"), Ok(Some(note.clone())));
        assert!(of_peer(Ok(Some(note.line())), "log.example/b").is_err());
        let changed = note.line().replace("\"size\":98", "\"size\":99");
        assert!(of_peer(Ok(Some(changed)), "log.example/a").is_err());
        let down = "the link to it has been down for 3 s";
        assert_eq!(of_peer(Err(down.to_owned()), "log.example/a"), Err(down.to_owned()));
    }

    #[test]
    fn a_finding_names_the_sizes_the_time_and_the_memory() {
        let known = Known {
            memory: "dir:/seals".to_owned(),
            head: TreeHead { size: 98, root: [1; 32] },
            at: "2026-11-29T10:00:00Z".to_owned(),
        };
        let shrunk = known.shrunk(60);
        assert_eq!(shrunk.word, SealWord::TreeShrunk);
        assert_eq!(
            shrunk.message,
            "tree_shrunk: 60 events are sealed here, a checkpoint for 98 was signed at 2026-11-29T10:00:00Z (dir:/seals)"
        );
        let (root, other) = (base64(&[2; 32]), base64(&[1; 32]));
        let differs = known.differs(&[2; 32], Some(60), 98);
        assert_eq!(differs.word, SealWord::CheckpointDiffers);
        assert_eq!(
            differs.message,
            format!(
                "checkpoint_differs: at 98 events the tree has {root}, the checkpoint signed at 2026-11-29T10:00:00Z \
                 has {other} (dir:/seals); the one at 60 fits: the first change is in leaves 60 to 97"
            )
        );
        assert!(known.differs(&[2; 32], None, 60).message.ends_with("the first change is in leaves 0 to 59"));
    }
}
