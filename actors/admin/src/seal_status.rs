//! State of seals: read in one snapshot, together with what the answering process knows of its memories.

use super::handler::{StoreAnswers, limit_in};
use super::tenants::known;
use decisiongraph_engine::seal::{SealSettings, Sealing};
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::{
    AdminError, Handle, HealthWord, SEALS_MAX, SealFound, SealOf, SealPlace, SealState, SealStatusReply,
    SealStatusRequest, SealedTree, SignedHead,
};
use decisiongraph_store::{Lag, NoteKind, ReadView, SealTree, TreeState};
use std::collections::HashMap;
use std::sync::Arc;

/// Tenants of a page without a limit.
const PAGE: i64 = 100;
/// Events up to which a lag is counted.
const LAG_EVENTS_MAX: u64 = 10_000;
/// Factor of the longest window above which a seal has failed.
const FAILED: f64 = 10.0;

impl Handle<SealStatusRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealStatusRequest) -> Result<SealStatusReply, AdminError> {
        let SealStatusRequest { tenant, after, limit } = request;
        let limit = limit_in(limit.unwrap_or(PAGE), SEALS_MAX)?;
        let view = self.store().snapshot().await?;
        let sealing = self.engine.sealing();
        let (logs, more) = match tenant {
            Some(tenant) => {
                known(&*view, Some(&tenant)).await?;
                let last = view.last_log_seq(&tenant, None).await?;
                let tree = view.seal_trees(&tenant).await?.pop();
                (vec![Log { tenant, last, tree }], false)
            }
            None => logs(&*view, after.as_ref(), limit).await?,
        };
        let mut seals = Vec::with_capacity(logs.len());
        for log in logs {
            seals.push(seal(&*view, sealing, log).await?);
        }
        measure(&*view, &mut seals).await?;
        // The content of a place that was away since the start of this process is not known; the time since then is.
        for (tenant, age) in sealing.map(|sealing| sealing.unplaced()).unwrap_or_default() {
            for Measured { seal, .. } in seals.iter_mut().filter(|measured| measured.seal.tenant == tenant) {
                seal.window_seconds = seal.window_seconds.max(age.as_secs_f64());
            }
        }
        let settings = sealing.map(|sealing| &sealing.settings);
        let with_health = |measured: Measured| SealOf { health: health(&measured.seal, settings), ..measured.seal };
        Ok(SealStatusReply {
            name: sealing.map(|sealing| sealing.name.clone()),
            memory: sealing.map(|sealing| memories(sealing)).unwrap_or_default(),
            without_rotation: Vec::new(),
            seals: seals.into_iter().map(with_health).collect(),
            more,
        })
    }
}

/// A tenant's log with its newest tree.
struct Log {
    tenant: TenantId,
    /// Position of the last event.
    last: LogSeq,
    tree: Option<SealTree>,
}

/// Names the memories outside the database, the journal first.
fn memories(sealing: &Sealing) -> Vec<String> {
    sealing.memory.sources().map(|place| place.name()).collect()
}

/// A seal whose lags are not measured yet.
struct Measured {
    seal: SealOf,
    /// Position up to which events are covered outside the database.
    covered: LogSeq,
}

/// Lists the logs of a page of tenants. True when there are more.
async fn logs(view: &dyn ReadView, after: Option<&TenantId>, limit: usize) -> Result<(Vec<Log>, bool), AdminError> {
    let mut heads = view.tenant_heads(after, limit + 1).await?;
    let more = heads.len() > limit;
    heads.truncate(limit);
    // Each tenant with a tree has a scope, and is among the heads.
    let trees = view.seal_heads(after, limit).await?;
    let mut trees: HashMap<TenantId, SealTree> = trees.into_iter().map(|tree| (tree.tenant.clone(), tree)).collect();
    let log = |head: decisiongraph_store::TenantHead| {
        let tree = trees.remove(&head.tenant);
        Log { tenant: head.tenant, last: head.last_log_seq, tree }
    };
    Ok((heads.into_iter().map(log).collect(), more))
}

/// Describes the seal of one log.
async fn seal(view: &dyn ReadView, sealing: Option<&Arc<Sealing>>, log: Log) -> Result<Measured, AdminError> {
    let Log { tenant, last, tree } = log;
    let finding = sealing.and_then(|sealing| sealing.stopped_by(&tenant));
    let findings: Vec<SealFound> = finding.into_iter().map(SealFound::from).collect();
    let state = match &tree {
        _ if !findings.is_empty() => SealState::Stopped,
        None => SealState::Unsealed,
        Some(tree) if tree.state == TreeState::Closed => SealState::Closed,
        Some(_) => SealState::Open,
    };
    let (mut signed, mut places, mut covered) = (None, Vec::new(), LogSeq::ORIGIN);
    if let Some(tree) = &tree {
        let notes = view.seal_notes(&tenant, tree.tree, Some(NoteKind::Checkpoint), None, 1).await?;
        signed = notes.into_iter().next().map(|note| SignedHead { size: note.size, at: note.noted_at });
        places = match sealing {
            Some(sealing) => places_of(sealing, &tree.origin).await,
            None => Vec::new(),
        };
        covered = position(view, tree, outside(&places)).await?;
    }
    let seal = SealOf {
        tenant,
        state,
        health: HealthWord::Ok,
        tree: tree.as_ref().map(of_tree),
        last_log_seq: last,
        unsealed: Lag { events: 0, more: false, seconds: 0.0 },
        window_seconds: 0.0,
        sealed_since: tree.map(|tree| tree.sealed_since),
        signed,
        places,
        scrub: None,
        findings,
    };
    Ok(Measured { seal, covered })
}

/// Describes a tree.
pub(super) fn of_tree(tree: &SealTree) -> SealedTree {
    shown(tree.tree, tree.origin.clone(), tree.head, tree.last)
}

/// Describes a tree as it was at this size.
pub(super) fn shown(tree: i64, origin: String, head: TreeHead, log_seq: LogSeq) -> SealedTree {
    SealedTree { tree, origin, size: head.size, root: base64(&head.root), log_seq }
}

/// Returns the size of the newest checkpoint that closes the window: in a place, where one is configured and its
/// content is known, else in the journal, which comes first.
fn outside(memories: &[SealPlace]) -> u64 {
    let (journal, places) = memories.split_at(memories.len().min(1));
    let newest = |of: &[SealPlace]| of.iter().filter_map(|place| Some(place.newest.as_ref()?.size)).max();
    let is_known = places.iter().any(|place| place.newest.is_some() || place.fault.is_none());
    newest(if is_known { places } else { journal }).unwrap_or(0)
}

/// Finds the position of the last event of the first `size` leaves.
async fn position(view: &dyn ReadView, tree: &SealTree, size: u64) -> Result<LogSeq, AdminError> {
    if size >= tree.head.size {
        return Ok(tree.last);
    }
    let Some(index) = size.checked_sub(1) else { return Ok(LogSeq::ORIGIN) };
    let chunks = view.seal_chunks(&tree.tenant, tree.tree, index, 1).await?;
    let leaves = chunks.first().and_then(|chunk| chunk.leaves()).unwrap_or_default();
    let leaf = leaves.into_iter().find(|leaf| leaf.index == index);
    Ok(leaf.map_or(LogSeq::ORIGIN, |leaf| leaf.log_seq))
}

/// Lists the memories of a log. One that this process has not met yet is asked.
pub(super) async fn places_of(sealing: &Arc<Sealing>, origin: &str) -> Vec<SealPlace> {
    let known = sealing.places_of(origin);
    let asked = (Arc::clone(sealing), origin.to_owned());
    if known.iter().all(|place| place.newest.is_some() || place.fault.is_some()) {
        return known;
    }
    let answers = tokio::task::spawn_blocking(move || asked.0.memory.newest(&asked.1)).await.unwrap_or_default();
    let merged = known.into_iter().zip(answers).map(|(place, answer)| match answer.newest {
        _ if place.newest.is_some() => place,
        Ok(newest) => {
            let newest = newest.filter(|note| note.is_checkpoint());
            SealPlace { newest: newest.map(|note| SignedHead { size: note.size, at: note.at }), ..place }
        }
        Err(error) => SealPlace { fault: place.fault.or_else(|| Some(error.to_string())), ..place },
    });
    merged.collect()
}

/// Counts the events that are not sealed, and finds the age of the oldest that is not covered outside the database.
async fn measure(view: &dyn ReadView, seals: &mut [Measured]) -> Result<(), AdminError> {
    let Some(end) = seals.iter().map(|measured| measured.seal.last_log_seq).max() else { return Ok(()) };
    let cursors = |position: fn(&Measured) -> LogSeq| -> Vec<(TenantId, LogSeq)> {
        seals.iter().map(|measured| (measured.seal.tenant.clone(), position(measured))).collect()
    };
    let sealed = cursors(|measured| measured.seal.tree.as_ref().map_or(LogSeq::ORIGIN, |tree| tree.log_seq));
    let covered = cursors(|measured| measured.covered);
    let (unsealed, uncovered) = (view.lags(&sealed, end, LAG_EVENTS_MAX).await?, view.lags(&covered, end, 1).await?);
    for ((measured, unsealed), uncovered) in seals.iter_mut().zip(unsealed).zip(uncovered) {
        measured.seal.unsealed = unsealed;
        measured.seal.window_seconds = if uncovered.events > 0 { uncovered.seconds } else { 0.0 };
    }
    Ok(())
}

/// Decides the health of a seal. Where no key is configured, nothing is expected of it.
pub fn health(seal: &SealOf, settings: Option<&SealSettings>) -> HealthWord {
    if !seal.findings.is_empty() {
        return HealthWord::Failed;
    }
    let Some(settings) = settings else { return HealthWord::Ok };
    let window_max = settings.window_max.as_secs_f64();
    let has_fault = seal.places.iter().any(|place| place.fault.is_some());
    match seal.window_seconds {
        window if window > window_max * FAILED => HealthWord::Failed,
        window if window > window_max || has_fault => HealthWord::Degraded,
        _ => HealthWord::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(window_seconds: f64, fault: Option<&str>, finding: Option<&str>) -> SealOf {
        let place = SealPlace { place: "journal".to_owned(), newest: None, fault: fault.map(str::to_owned) };
        let found = |word: &str| SealFound { word: word.to_owned(), message: format!("{word}: x") };
        SealOf {
            tenant: TenantId::default(),
            state: SealState::Open,
            health: HealthWord::Ok,
            tree: None,
            last_log_seq: LogSeq::ORIGIN,
            unsealed: Lag { events: 0, more: false, seconds: 0.0 },
            window_seconds,
            sealed_since: None,
            signed: None,
            places: vec![place],
            scrub: None,
            findings: finding.map(found).into_iter().collect(),
        }
    }

    #[test]
    fn a_window_ends_in_a_place_and_without_one_in_the_journal() {
        let of = |place: &str, size: Option<u64>, fault: Option<&str>| SealPlace {
            place: place.to_owned(),
            newest: size.map(|size| SignedHead { size, at: String::new() }),
            fault: fault.map(str::to_owned),
        };
        let journal = of("journal", Some(98), None);
        assert_eq!(outside(std::slice::from_ref(&journal)), 98);
        assert_eq!(outside(&[journal.clone(), of("dir:/x", Some(60), Some("full"))]), 60);
        assert_eq!(outside(&[journal.clone(), of("dir:/x", None, None)]), 0, "it has none");
        assert_eq!(outside(&[journal.clone(), of("dir:/x", Some(60), None), of("dir:/y", Some(90), None)]), 90);
        assert_eq!(outside(&[journal, of("dir:/x", None, Some("away"))]), 98, "its content is not known: a fault");
        assert_eq!(outside(&[]), 0);
    }

    #[test]
    fn health_follows_from_findings_window_and_places() {
        let settings = SealSettings::default();
        let of = |seal: SealOf| health(&seal, Some(&settings));
        assert_eq!(of(seal(120.0, None, None)), HealthWord::Ok);
        assert_eq!(of(seal(121.0, None, None)), HealthWord::Degraded);
        assert_eq!(of(seal(1_201.0, None, None)), HealthWord::Failed);
        assert_eq!(of(seal(0.0, Some("no space"), None)), HealthWord::Degraded);
        assert_eq!(of(seal(0.0, None, Some("tree_shrunk"))), HealthWord::Failed);
        assert_eq!(health(&seal(9_999.0, None, None), None), HealthWord::Ok, "nothing is sealed here");
    }
}
