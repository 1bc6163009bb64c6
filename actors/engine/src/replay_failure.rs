//! Replays a recorded failure, offline: folds the batch that failed over the state that it was computed from. Nothing
//! is written but a scratch file.
//!
//! ```text
//!   live cursor = batch_from?  ── yes ──▶ live rows, in one snapshot ────┐
//!            └── no ──▶ log from origin to batch_from, in a scratch file ┴─▶ digest = digest_before? ─▶ fold the batch
//! ```
//!
//! *Guarantees.* One snapshot of log, rows and skips. The event itself counts as not skipped, whatever was decided
//! meanwhile: the question is whether it still fails.

use super::lane::{ApplyOptions, Lane, Target};
use super::page::Page;
use super::verify::Scratch;
use decisiongraph_projections::{Category, Projection, catalogue};
use decisiongraph_protocol::report::FailureReplay;
use decisiongraph_store::{Failure, Lease, Orders, Owner, PageLimit, ReadView, Result, Scope, Store, StoreError};
use std::sync::Arc;
use uuid::Uuid;

/// Events per page on the way to the failing batch.
const PAGE_EVENTS_MAX: usize = 2_000;
/// Bytes per such page.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Limit of such a page.
const PAGE_MAX: PageLimit = PageLimit::of(PAGE_EVENTS_MAX, PAGE_BYTES_MAX);

/// Folds the batch of a failure again and reports the outcome; see the file's guarantees. `not_found` when there is no
/// such failure.
pub async fn replay_failure(store: &dyn Store, failure_id: i64) -> Result<FailureReplay> {
    let snapshot = store.snapshot().await?;
    let failure = snapshot
        .failure(failure_id)
        .await?
        .ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no failure {failure_id}")))?;
    let projection = catalogue::find(&failure.projection).ok_or_else(|| {
        StoreError::new(Category::VersionMismatch, format!("this program has no projection {}", failure.projection))
    })?;
    let scope = Scope::new(&failure.tenant, projection);
    match snapshot.scope(&scope).await? {
        Some(live) if live.position.cursor == failure.batch_from && live.position.version == projection.version() => {
            let (epoch, generation) = (live.epoch, live.generation);
            let lease = Lease {
                scope,
                owner: nobody(),
                epoch,
                generation,
                session: 0,
                history: None,
                taken_from: None,
                orders: Orders::default(),
            };
            let mut lane = Lane::new(projection, &failure.tenant, Target::Live(lease), live.position);
            skipping_others(&mut lane, &*snapshot, &failure).await?;
            fold_batch(&lane, &*snapshot, &*snapshot, &failure, "live rows", 0).await
        }
        _ => from_origin(&*snapshot, &failure, projection).await,
    }
}

/// Folds the log up to the batch into a scratch file, then the batch.
async fn from_origin(
    log: &dyn ReadView,
    failure: &Failure,
    projection: &'static dyn Projection,
) -> Result<FailureReplay> {
    let scratch = Scratch::new("replay").await?;
    let mut lane = scratch.lane(projection, &failure.tenant, &nobody()).await?;
    skipping_others(&mut lane, log, failure).await?;
    let options = ApplyOptions { checkpoint_events: u64::MAX, record_failures: false, limit: PAGE_MAX };
    let source = "log from the origin";
    while lane.position.cursor < failure.batch_from {
        let from = lane.position.cursor;
        let page = Page::read(log, &failure.tenant, from, failure.batch_from, PAGE_MAX, &lane.skips).await?;
        if page.is_empty() {
            break;
        }
        lane.apply(&*scratch.store, log, &Arc::new(page), &options).await?;
        if let Some(earlier) = lane.failure {
            // An event before the batch fails now: the batch cannot be replayed as it was.
            return Ok(FailureReplay {
                reproduced: false,
                log_seq: Some(earlier.log_seq),
                category: Some(earlier.category),
                message: Some(earlier.message),
                digest_before_matches: false,
                source: source.to_owned(),
                events: lane.events,
            });
        }
    }
    fold_batch(&lane, &*scratch.store.view().await?, log, failure, source, lane.events).await
}

async fn fold_batch(
    lane: &Lane,
    rows: &dyn ReadView,
    log: &dyn ReadView,
    failure: &Failure,
    source: &str,
    events_before: u64,
) -> Result<FailureReplay> {
    // The event that failed is its first one, unless it does not fail any more.
    let (after, upto) = (lane.position.cursor, failure.batch_to);
    let page = Arc::new(Page::read(log, &failure.tenant, after, upto, PAGE_MAX, &lane.skips).await?);
    let folded = lane.fold(rows, log, &page, PAGE_MAX).await?;
    let met = folded.poison.as_ref().or(page.poison.as_ref());
    let met = met.map(|poison| (page.events[poison.index].log_seq, &poison.refusal));
    Ok(FailureReplay {
        reproduced: met.is_some_and(|(at, refusal)| at == failure.log_seq && refusal.category == failure.category),
        log_seq: met.map(|(at, _)| at),
        category: met.map(|(_, refusal)| refusal.category),
        message: met.map(|(_, refusal)| refusal.message.clone()),
        digest_before_matches: lane.position.digest.to_text() == failure.digest_before,
        source: source.to_owned(),
        events: events_before + page.events.len() as u64,
    })
}

/// Skips the events that the scope skips, except the event in question.
async fn skipping_others(lane: &mut Lane, view: &dyn ReadView, failure: &Failure) -> Result<()> {
    lane.skipping(view).await?;
    lane.skips.remove(&failure.log_seq);
    Ok(())
}

/// Makes an owner for a lease that takes nothing from other owners.
fn nobody() -> Owner {
    Owner { node: "replay".to_owned(), incarnation: Uuid::nil() }
}
