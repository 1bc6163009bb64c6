//! Sealing at once, for a caller that waits: up to the mark, signed, noted and in every place.
//!
//! *Guarantees.* In a node, its worker and its notary do the work: the caller wakes them and waits for the note. On a
//! database alone the caller claims the scope itself. What was not done in time goes on, and says so.

use super::{Sealing, notary};
use crate::{Engine, claim};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_store::{NoteKind, Result, Scope, SealTree, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause between two looks at the work of others.
const LOOK: Duration = Duration::from_millis(20);
/// Next step where nothing is sealed.
const NEXT_KEY: &str = "make a key with `decisiongraph seal key new`, and name it with seal_key_file";

/// A tree whose checkpoint is noted and in every place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Number of the tree.
    pub tree: i64,
    /// Name of the log.
    pub origin: String,
    /// Size and root that the checkpoint covers.
    pub head: TreeHead,
    /// Position of the last sealed event.
    pub last: LogSeq,
    /// The checkpoint; none of a log without events.
    pub note: Option<String>,
}

/// Refuses what needs a key where there is none.
pub fn off() -> StoreError {
    StoreError::new(Category::Conflict, "the log is not sealed: this process has no key").next(NEXT_KEY)
}

/// Refuses a change of a tree while another one is under way.
pub(super) fn under_way() -> StoreError {
    StoreError::new(Category::Conflict, "another request to fork or rebuild this tree is under way")
}

/// Seals a tenant's log up to the mark, signs it, and waits until the note is in the database and in every place. A
/// finding is an error of category `conflict`; `projection_out_of_date` when it is not done within `wait`.
pub async fn seal_now(engine: &Engine, tenant: &TenantId, wait: Duration) -> Result<Sealed> {
    let sealing = engine.sealing().ok_or_else(off)?;
    let deadline = Instant::now() + wait;
    let mark = engine.mark().await?;
    let target = engine.store().view().await?.last_log_seq(tenant, Some(mark.at)).await?;
    if engine.is_of_node() {
        sealing.hurry(tenant);
    } else {
        engine.alive(async || engine.seal_upto(sealing, tenant, &mark).await).await?;
    }
    let done = waited(engine, sealing, tenant, target, deadline).await;
    sealing.calm(tenant);
    done
}

async fn waited(
    engine: &Engine,
    sealing: &Arc<Sealing>,
    tenant: &TenantId,
    target: LogSeq,
    deadline: Instant,
) -> Result<Sealed> {
    // Size at the target: the tree may grow on meanwhile.
    let mut needed = None;
    loop {
        if let Some(finding) = sealing.stopped_by(tenant) {
            return Err(finding.into());
        }
        if !engine.is_of_node() {
            sign(engine, sealing, tenant).await?;
        }
        let view = engine.store().view().await?;
        let trees = view.seal_trees(tenant).await?;
        let lacks = match trees.last() {
            None if target == LogSeq::ORIGIN => return Ok(empty(sealing, tenant)),
            Some(tree) if tree.last >= target => {
                let size = *needed.get_or_insert(tree.head.size);
                match lacks(sealing, tree, size) {
                    None => return sealed(engine, tree).await,
                    Some(lacks) => lacks,
                }
            }
            other => {
                if let Some(paused) = view.scope(&Scope::new(tenant, SEAL)).await?.and_then(|row| row.paused) {
                    return Err(claim::paused(&Scope::new(tenant, SEAL), &paused));
                }
                format!("the log is sealed up to {} of {target}", other.map_or(LogSeq::ORIGIN, |tree| tree.last))
            }
        };
        if Instant::now() >= deadline {
            let message = format!("not sealed and published in time; it continues: {lacks}");
            return Err(StoreError::new(Category::ProjectionOutOfDate, message));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Signs and publishes, where no notary does.
async fn sign(engine: &Engine, sealing: &Arc<Sealing>, tenant: &TenantId) -> Result<()> {
    let store = &**engine.store();
    let log = sealing.unsigned().into_iter().find(|log| log.tenant == *tenant);
    if let Some(log) = log {
        notary::sign(store, sealing, &log).await?;
    }
    notary::publish(store, sealing).await;
    Ok(())
}

/// Names what a checkpoint of this size lacks; none when it is noted and in every place.
fn lacks(sealing: &Sealing, tree: &SealTree, size: u64) -> Option<String> {
    if tree.noted < size {
        let reason = sealing.not_signed().into_iter().find(|(tenant, _)| *tenant == tree.tenant);
        return Some(match reason {
            Some((_, reason)) => format!("the checkpoint for {size} events is not signed: {reason}"),
            None => format!("the checkpoint for {size} events is not signed yet"),
        });
    }
    let places = sealing.unpublished(&tree.origin).into_iter();
    let named = places.map(|(place, fault)| format!("{place} ({})", fault.as_deref().unwrap_or("not yet")));
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("the checkpoint for {size} events is not in {}", named.join(", ")))
}

async fn sealed(engine: &Engine, tree: &SealTree) -> Result<Sealed> {
    let view = engine.store().view().await?;
    let notes = view.seal_notes(&tree.tenant, tree.tree, Some(NoteKind::Checkpoint), None, 1).await?;
    Ok(Sealed {
        tenant: tree.tenant.clone(),
        tree: tree.tree,
        origin: tree.origin.clone(),
        head: tree.head,
        last: tree.last,
        note: notes.into_iter().next().map(|note| note.note),
    })
}

fn empty(sealing: &Sealing, tenant: &TenantId) -> Sealed {
    let SealTree { tenant, tree, origin, head, last, .. } = super::sealer::unborn(sealing, tenant);
    Sealed { tenant, tree, origin, head, last, note: None }
}
