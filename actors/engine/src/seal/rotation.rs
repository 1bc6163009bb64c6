//! The rotation of the key: a note per log, signed by both keys.
//!
//! ```text
//!   list of rotations ──▶ processes of this node sign with both keys ──▶ newest head of each log ──▶ rotation note
//! ```
//!
//! The list comes first. So no head above that of the rotation note is signed by the old key alone, on this node. Other
//! nodes have lists of their own: the same rotation there finds the notes, and only adds to the list.
//!
//! *Guarantees.* It can be repeated after any interruption: a note that is there is not made again.

use super::Sealing;
use super::notary::{journal_notes, now, publish};
use crate::Engine;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Checkpoint, Rotation, TreeHead};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_seal::key::{KeyError, SigningKey};
use decisiongraph_seal::rotations::{self, KeyChange};
use decisiongraph_seal::{Place as _, PlaceError, Remembered, rotation};
use decisiongraph_store::{NewSealNote, NoteKind, ReadView, Result, SealTree, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Trees per page.
const TREES_MAX: usize = 500;
/// Wait for a signature that another process of this node began with the old key.
const SETTLE: Duration = Duration::from_secs(1);

/// A log whose key was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Name of the log.
    pub origin: String,
    /// The last size that the old key may sign alone.
    pub size: u64,
    /// The key from now on, in text form.
    pub verifier: String,
    /// False when the note was there.
    pub is_new: bool,
}

/// Replaces the key that signs by that of the file `to`, and publishes a rotation note for each log that was signed.
pub async fn rotate(engine: &Engine, sealing: &Arc<Sealing>, to: &Path) -> Result<Vec<Rotated>> {
    let (Some(from), Some(directory)) = (sealing.keys.file().map_err(refused)?, sealing.keys.directory()) else {
        return Err(StoreError::new(Category::InvalidArgument, "this process has no key file to replace"));
    };
    // After an interruption, the list has this rotation already.
    let from = rotations::to(directory, to).map_err(refused)?.map_or(from, |change| change.from);
    let (old, new) = (SigningKey::read(&from).map_err(refused)?, SigningKey::read(to).map_err(refused)?);
    if old.verifier("a/b") == new.verifier("a/b") {
        let text = format!("{} is the key that signs already", to.display());
        return Err(StoreError::new(Category::Conflict, text));
    }
    std::fs::create_dir_all(directory).map_err(|error| {
        StoreError::new(Category::Storage, format!("cannot create {}: {error}", directory.display()))
    })?;
    rotations::add(directory, &KeyChange { from, to: to.to_owned(), at: now() }).map_err(refused)?;
    tokio::time::sleep(SETTLE).await;
    let (mut rotated, mut after) = (Vec::new(), None);
    loop {
        let view = engine.store().view().await?;
        let trees = view.seal_heads(after.as_ref(), TREES_MAX).await?;
        let Some(last) = trees.last() else { break };
        after = Some(last.tenant.clone());
        for tree in &trees {
            rotated.extend(rotate_log(engine, sealing, &*view, tree, (&old, &new)).await?);
        }
    }
    publish(&**engine.store(), sealing).await;
    Ok(rotated)
}

/// Makes the note of one log. None when nothing of it was signed.
async fn rotate_log(
    engine: &Engine,
    sealing: &Arc<Sealing>,
    view: &dyn ReadView,
    tree: &SealTree,
    (old, new): (&SigningKey, &SigningKey),
) -> Result<Option<Rotated>> {
    let origin = &tree.origin;
    let verifier = new.verifier(origin).to_string();
    let made = |size: u64, is_new: bool| {
        let (tenant, origin, verifier) = (tree.tenant.clone(), origin.clone(), verifier.clone());
        Some(Rotated { tenant, origin, size, verifier, is_new })
    };
    let there = known(sealing, view, tree, |text| {
        let rotation = Rotation::parse(text).ok()?;
        (rotation.old == old.verifier(origin) && rotation.new == new.verifier(origin)).then_some(rotation.head)
    });
    if let Some((head, note)) = there.await? {
        // A journal that lacks the note of another node gets it.
        if let Some(note) = Remembered::of(&note, &now()).ok().and_then(|notes| notes.into_iter().next()) {
            journal_notes(sealing, &tree.tenant, &[note]).await?;
        }
        return Ok(made(head.size, false));
    }
    let Some((head, _)) = known(sealing, view, tree, |text| Checkpoint::parse(text).ok().map(|it| it.head)).await?
    else {
        return Ok(None);
    };
    let note = rotation(origin, head, old, new, &now()).map_err(refused)?;
    journal_notes(sealing, &tree.tenant, std::slice::from_ref(&note)).await?;
    let (tenant, tree_number) = (tree.tenant.clone(), tree.tree);
    let stored = NewSealNote { tenant, tree: tree_number, kind: NoteKind::Rotation, size: head.size, note: note.note };
    engine.store().add_seal_notes(&[stored]).await?;
    Ok(made(head.size, true))
}

/// Finds the note of the largest head that `read` gives, in the journal or else in the database.
async fn known(
    sealing: &Arc<Sealing>,
    view: &dyn ReadView,
    tree: &SealTree,
    read: impl Fn(&str) -> Option<TreeHead>,
) -> Result<Option<(TreeHead, String)>> {
    let mut found: Option<(TreeHead, String)> = None;
    let mut take = |note: String| {
        let head = Note::parse(&note).ok().and_then(|parsed| read(parsed.text));
        if let Some(head) = head.filter(|head| found.as_ref().is_none_or(|(known, _)| known.size <= head.size)) {
            found = Some((head, note));
        }
    };
    // A journal of years is read note by note.
    sealing.memory.journal.each(&tree.origin, &mut |note| take(note.note)).map_err(damaged)?;
    for kind in [NoteKind::Checkpoint, NoteKind::Rotation] {
        let stored = view.seal_notes(&tree.tenant, tree.tree, Some(kind), None, 10).await?;
        stored.into_iter().for_each(|note| take(note.note));
    }
    Ok(found)
}

fn refused(error: KeyError) -> StoreError {
    let category = match error {
        KeyError::Crypto => Category::Internal,
        _ => Category::InvalidArgument,
    };
    StoreError::new(category, error.to_string())
}

fn damaged(error: PlaceError) -> StoreError {
    StoreError::new(Category::Storage, format!("the journal of the seal: {error}"))
}
