//! A signed note as a place keeps it: the note, and the facts in it by which it is found.
//!
//! *Guarantees.* The facts are those of the note: a line whose facts contradict its note is damaged. The signatures
//! are not checked here.

use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Checkpoint, Erasure, Fork, Rotation, Statement, TreeHead};
use decisiongraph_projections::seal::{Hash, Malformed, base64, read_base64_of};
use decisiongraph_records::NoteKind;
use serde::{Deserialize, Serialize};

/// A signed note with its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Kind of the note.
    pub kind: NoteKind,
    /// Name of the log.
    pub origin: String,
    /// Size of the tree that the note is about. Of an erasure: the index of its leaf.
    pub size: u64,
    /// Root at that size; an erasure has none.
    pub root: Option<Hash>,
    /// The signed note.
    pub note: String,
    /// Time at which it was signed, RFC 3339, by the clock of the signer. No signature covers it.
    pub at: String,
}

impl Remembered {
    /// Reads the facts of a note. A fork note is about two logs, and gives both: the old one first.
    pub fn of(note: &str, at: &str) -> Result<Vec<Remembered>, Malformed> {
        let made = |kind: NoteKind, origin: String, size: u64, root: Option<Hash>| Remembered {
            kind,
            origin,
            size,
            root,
            note: note.to_owned(),
            at: at.to_owned(),
        };
        let head = |kind, origin, head: TreeHead| made(kind, origin, head.size, Some(head.root));
        let text = Note::parse(note)?.text;
        if let Ok(Statement { origin, head: at, .. }) = Statement::parse(text) {
            return Ok(vec![head(NoteKind::Statement, origin, at)]);
        }
        if let Ok(Rotation { origin, head: at, .. }) = Rotation::parse(text) {
            return Ok(vec![head(NoteKind::Rotation, origin, at)]);
        }
        if let Ok(fork) = Fork::parse(text) {
            let old = head(NoteKind::Fork, fork.old_origin, fork.last_signed);
            return Ok(vec![old, head(NoteKind::Fork, fork.new_origin, fork.common)]);
        }
        if let Ok(Erasure { origin, index, .. }) = Erasure::parse(text) {
            return Ok(vec![made(NoteKind::Erasure, origin, index, None)]);
        }
        let Checkpoint { origin, head: at } = Checkpoint::parse(text)?;
        Ok(vec![head(NoteKind::Checkpoint, origin, at)])
    }

    /// Reads the facts of a checkpoint.
    pub fn of_checkpoint(note: &str, at: &str) -> Result<Remembered, Malformed> {
        let found = Remembered::of(note, at)?.into_iter().find(Remembered::is_checkpoint);
        found.ok_or(Malformed("not a checkpoint"))
    }

    /// True for a checkpoint.
    pub fn is_checkpoint(&self) -> bool {
        self.kind == NoteKind::Checkpoint
    }

    /// True for a note that says how far its log was signed, even when no checkpoint is left.
    pub(crate) fn is_a_head(&self) -> bool {
        matches!(self.kind, NoteKind::Checkpoint | NoteKind::Fork)
    }

    /// Returns size and root.
    pub fn head(&self) -> Option<TreeHead> {
        self.root.map(|root| TreeHead { size: self.size, root })
    }

    /// Writes one line of JSON, with its LF.
    pub fn line(&self) -> String {
        let Remembered { kind, origin, size, root, note, at } = self.clone();
        let line = Line { at, kind, origin, size, root: root.map(|root| base64(&root)), note };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    /// Reads a line without its LF.
    pub fn parse(line: &[u8]) -> Option<Remembered> {
        let Line { at, kind, origin, size, root, note } = serde_json::from_slice(line).ok()?;
        let root = root.map(|root| read_base64_of(&root)).transpose().ok()?;
        let read = Remembered { kind, origin, size, root, note, at };
        let facts = Remembered::of(&read.note, &read.at).ok()?;
        facts.contains(&read).then_some(read)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: String,
    kind: NoteKind,
    origin: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    note: String,
}
