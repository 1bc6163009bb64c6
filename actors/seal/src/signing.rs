//! The keys with which a deployment signs, and the notes that they sign.
//!
//! *Guarantees.* A note of a log is signed under its origin. While a rotation is young, the former key signs, too: an
//! auditor who knows only that key can still check new notes, unless the auditor knows the rotation. Neither key
//! reaches an error or a `Debug` output.
//!
//! *Never here:* a clock. The caller says whether the former key still signs.

use crate::key::{KeyError, SigningKey};
use crate::place::Remembered;
use crate::rotations::{self, Stamp};
use decisiongraph_projections::seal::note::{VerifierKey, signed};
use decisiongraph_projections::seal::texts::{Checkpoint, Fork, Rotation, Statement, TreeHead};
use decisiongraph_records::NoteKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The keys of a process that signs.
#[derive(Debug)]
pub struct SigningKeys {
    files: Option<Files>,
    pair: RwLock<(Arc<Pair>, Stamp)>,
}

/// Names of the files that hold the keys.
#[derive(Debug)]
struct Files {
    configured: PathBuf,
    /// Directory of the list of rotations.
    directory: PathBuf,
}

#[derive(Debug)]
struct Pair {
    current: SigningKey,
    former: Option<Former>,
}

#[derive(Debug)]
struct Former {
    key: SigningKey,
    /// Time of the rotation, RFC 3339.
    since: String,
}

impl SigningKeys {
    /// Signs with one key.
    pub fn of(current: SigningKey) -> SigningKeys {
        SigningKeys { files: None, pair: RwLock::new((Arc::new(Pair { current, former: None }), None)) }
    }

    /// Signs with a key that replaced another at this time.
    pub fn rotated(current: SigningKey, former: SigningKey, since: &str) -> SigningKeys {
        let former = Some(Former { key: former, since: since.to_owned() });
        SigningKeys { files: None, pair: RwLock::new((Arc::new(Pair { current, former }), None)) }
    }

    /// Reads the configured key, or the key that replaced it by the list of rotations in `directory`, the directory of
    /// the journal.
    pub fn read(configured: &Path, directory: &Path) -> Result<SigningKeys, KeyError> {
        let files = Files { configured: configured.to_owned(), directory: directory.to_owned() };
        let stamp = rotations::stamp(directory);
        let pair = files.read()?;
        Ok(SigningKeys { files: Some(files), pair: RwLock::new((Arc::new(pair), stamp)) })
    }

    /// Reads the keys again when there was a rotation. Returns true for new keys. After an error, the keys of before
    /// go on to sign.
    pub fn refresh(&self) -> Result<bool, KeyError> {
        let Some(files) = &self.files else { return Ok(false) };
        let stamp = rotations::stamp(&files.directory);
        if self.pair.read().unwrap_or_else(PoisonError::into_inner).1 == stamp {
            return Ok(false);
        }
        let pair = Arc::new(files.read()?);
        *self.pair.write().unwrap_or_else(PoisonError::into_inner) = (pair, stamp);
        Ok(true)
    }

    /// Returns the file that holds the key which signs now; none for a key that came without a file.
    pub fn file(&self) -> Result<Option<PathBuf>, KeyError> {
        let Some(Files { configured, directory }) = &self.files else { return Ok(None) };
        Ok(Some(rotations::follow(configured, &rotations::read(directory)?).0))
    }

    /// Returns the directory of the list of rotations.
    pub fn directory(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| &*files.directory)
    }

    /// Returns the name in the file of the current key.
    pub fn name(&self) -> String {
        self.pair().current.name().to_owned()
    }

    /// Returns the time at which the former key was replaced, if there is one.
    pub fn rotated_at(&self) -> Option<String> {
        self.pair().former.as_ref().map(|former| former.since.clone())
    }

    /// Returns the public keys under the name of a log: the current one, then the former one.
    pub fn verifiers(&self, origin: &str) -> Vec<VerifierKey> {
        self.pair().keys(true).map(|key| key.verifier(origin)).collect()
    }

    /// Signs a checkpoint; `both` keys, or the current one alone.
    pub fn checkpoint(&self, origin: &str, head: TreeHead, both: bool, at: &str) -> Result<Remembered, KeyError> {
        let text = Checkpoint { origin: origin.to_owned(), head }.text();
        Ok(remembered(NoteKind::Checkpoint, origin, head, self.note(&[origin], &text, both)?, at))
    }

    /// Signs a statement.
    pub fn statement(&self, statement: &Statement, both: bool) -> Result<Remembered, KeyError> {
        let Statement { origin, head, time, .. } = statement;
        let note = self.note(&[origin], &statement.text(), both)?;
        Ok(remembered(NoteKind::Statement, origin, *head, note, time))
    }

    /// Signs a fork under both of its origins. Returns the note as each of the two logs remembers it, the old one
    /// first.
    pub fn fork(&self, fork: &Fork, both: bool, at: &str) -> Result<[Remembered; 2], KeyError> {
        let note = self.note(&[&fork.old_origin, &fork.new_origin], &fork.text(), both)?;
        Ok([
            remembered(NoteKind::Fork, &fork.old_origin, fork.last_signed, note.clone(), at),
            remembered(NoteKind::Fork, &fork.new_origin, fork.common, note, at),
        ])
    }

    /// Signs a text under these origins.
    fn note(&self, origins: &[&str], text: &str, both: bool) -> Result<String, KeyError> {
        let pair = self.pair();
        let under = |origin: &&str| pair.keys(both).map(|key| key.sign(origin, text)).collect::<Vec<_>>();
        let lines = origins.iter().flat_map(under).collect::<Result<Vec<_>, _>>()?;
        Ok(signed(text, &lines))
    }

    fn pair(&self) -> Arc<Pair> {
        Arc::clone(&self.pair.read().unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl Pair {
    fn keys(&self, both: bool) -> impl Iterator<Item = &SigningKey> {
        let former = self.former.as_ref().filter(|_| both);
        std::iter::once(&self.current).chain(former.map(|former| &former.key))
    }
}

impl Files {
    fn read(&self) -> Result<Pair, KeyError> {
        let (current, change) = rotations::follow(&self.configured, &rotations::read(&self.directory)?);
        let current = SigningKey::read(&current)?;
        let former = change.and_then(|change| {
            // A key that was stolen is deleted: it signs no more.
            SigningKey::read(&change.from).ok().map(|key| Former { key, since: change.at })
        });
        Ok(Pair { current, former })
    }
}

/// Signs the note by which `new` takes over from `old`. `head` is the last one that the old key may sign alone.
pub fn rotation(
    origin: &str,
    head: TreeHead,
    old: &SigningKey,
    new: &SigningKey,
    at: &str,
) -> Result<Remembered, KeyError> {
    let (old_key, new_key) = (old.verifier(origin), new.verifier(origin));
    let text = Rotation { origin: origin.to_owned(), head, old: old_key, new: new_key }.text();
    let note = signed(&text, &[old.sign(origin, &text)?, new.sign(origin, &text)?]);
    Ok(remembered(NoteKind::Rotation, origin, head, note, at))
}

/// Returns the origin of the tree behind tree number `tree`: `…/2`, then `…/3`.
pub fn fork_origin(origin: &str, tree: i64) -> String {
    let first = origin.strip_suffix(&format!("/{tree}")).filter(|_| tree > 1).unwrap_or(origin);
    format!("{first}/{}", tree.saturating_add(1))
}

fn remembered(kind: NoteKind, origin: &str, head: TreeHead, note: String, at: &str) -> Remembered {
    let (origin, at) = (origin.to_owned(), at.to_owned());
    Remembered { kind, origin, size: head.size, root: Some(head.root), note, at }
}
