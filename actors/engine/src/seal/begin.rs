//! Decisions of an operator before a tree grows: another name for it, or trust in the database alone.

use super::Sealing;
use super::notary::{journal_notes, now, publish};
use super::now::off;
use crate::Engine;
use decisiongraph_projections::seal::texts::is_origin;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_seal::Remembered;
use decisiongraph_seal::place::tag;
use decisiongraph_store::{NewSealNote, NoteKind, Result, SealTree, StoreError};
use std::sync::Arc;

/// Trees per page.
const TREES_PAGE: usize = 1_000;

/// Makes the row of a tenant's first tree, empty, under this origin. `conflict` when it has a tree, or when another
/// tenant has the origin.
pub async fn begin(engine: &Engine, tenant: &TenantId, origin: &str) -> Result<SealTree> {
    engine.sealing().ok_or_else(off)?;
    if !is_origin(origin) || tag(origin).is_err() {
        let text =
            format!("`{origin}` is not a name of a log: give a host and a path, such as decisions.example.com/acme");
        return Err(StoreError::new(Category::InvalidArgument, text));
    }
    let (view, mut after) = (engine.store().view().await?, None);
    loop {
        let page = view.seal_heads(after.as_ref(), TREES_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.tenant.clone());
        if page.iter().any(|tree| tree.tenant != *tenant && tree.origin == origin) {
            return Err(StoreError::new(Category::Conflict, format!("another tenant's log has the name {origin}")));
        }
    }
    engine.store().begin_seal(tenant, origin).await
}

/// Trusts the tree in the database once, although no memory outside it answers: the newest checkpoint of the database
/// goes into the journal, and a tree without one is signed. Returns the tree and that checkpoint.
pub async fn trust_database(engine: &Engine, tenant: &TenantId) -> Result<(SealTree, Option<Remembered>)> {
    let sealing = engine.sealing().ok_or_else(off)?;
    let view = engine.store().view().await?;
    let tree = view.seal_trees(tenant).await?.pop();
    let tree = tree.ok_or_else(|| StoreError::new(Category::Conflict, "there is no tree: nothing is sealed yet"))?;
    if tree.head.size == 0 {
        return Ok((tree, None));
    }
    let noted = view.seal_notes(tenant, tree.tree, Some(NoteKind::Checkpoint), None, 1).await?.pop();
    let checkpoint = match noted {
        Some(noted) => Remembered::of_checkpoint(&noted.note, &noted.noted_at)
            .map_err(|error| StoreError::new(Category::Conflict, format!("signature_invalid: {error} (database)")))?,
        None => signed(engine, sealing, &tree).await?,
    };
    journal_notes(sealing, tenant, std::slice::from_ref(&checkpoint)).await?;
    publish(&**engine.store(), sealing).await;
    Ok((tree, Some(checkpoint)))
}

/// Signs the stored head of a tree that has no checkpoint, and notes it.
async fn signed(engine: &Engine, sealing: &Arc<Sealing>, tree: &SealTree) -> Result<Remembered> {
    let checkpoint = sealing
        .keys
        .checkpoint(&tree.origin, tree.head, sealing.both_sign(), &now())
        .map_err(|error| StoreError::internal(format!("the seal cannot sign: {error}")))?;
    let note = NewSealNote {
        tenant: tree.tenant.clone(),
        tree: tree.tree,
        kind: NoteKind::Checkpoint,
        size: tree.head.size,
        note: checkpoint.note.clone(),
    };
    engine.store().add_seal_notes(&[note]).await?;
    Ok(checkpoint)
}
