//! The view of a query: a snapshot in which the projections it needs have seen the tenant's last event.
//!
//! *Guarantees.* Generations and rows are of one instant. A projection that is behind the tenant's last event *at the
//! query's start* is refused as `projection_out_of_date`, after waiting. Events that arrive meanwhile do not count. A
//! query may name the position that is enough ([`Freshness::at_least`]), so that it need not chase a busy log.

use crate::Engine;
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId};
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::query::{Freshness, STALE_EVENTS_MAX, Staleness};
use decisiongraph_store::{Generation, ReadView, Result, Scope, StoreError};
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two checks while waiting for a projection. Short enough for a query that follows its append, long
/// enough to cost nothing.
const POLL: Duration = Duration::from_millis(20);

/// A snapshot that may be queried.
pub struct CurrentView {
    /// Snapshot to read.
    pub view: Box<dyn ReadView>,
    /// Live generation of each projection asked for; `None` when it has no rows yet.
    pub generations: Vec<Option<Generation>>,
    /// Present when the answer is behind.
    pub stale: Option<Staleness>,
    /// Position up to which all of them have applied the log.
    pub cursor: LogSeq,
}

/// Waits until these projections have seen the tenant's last event, or what the query asks for, and opens the snapshot
/// in which that is so.
pub async fn current_view(
    engine: &Engine,
    tenant: &TenantId,
    projections: &[&'static dyn Projection],
    freshness: Freshness,
) -> Result<CurrentView> {
    let store = engine.store();
    let mut target = match freshness.at_least {
        Some(at_least) => at_least,
        None => store.view().await?.last_log_seq(tenant, None).await?,
    };
    // A cursor at the target is enough in any case: it was at or below the mark. A target that the tenant's log does
    // not reach needs the mark beside it.
    let mut unproven = freshness.at_least;
    let deadline = Instant::now() + Duration::from_millis(freshness.wait_ms);
    loop {
        let view = store.snapshot().await?;
        let mut generations = Vec::with_capacity(projections.len());
        let (mut behind, mut common): (Option<(&'static str, LogSeq)>, _) = (None, LogSeq(i64::MAX));
        for projection in projections {
            let row = view.scope(&Scope::new(tenant, *projection)).await?;
            let cursor = row.as_ref().map_or(LogSeq::ORIGIN, |row| row.position.cursor);
            common = common.min(cursor);
            if cursor < target && behind.is_none_or(|(_, worst)| cursor < worst) {
                behind = Some((projection.name(), cursor));
            }
            generations.push(row.map(|row| row.generation));
        }
        let Some((projection, cursor)) = behind else {
            return Ok(CurrentView { view, generations, stale: None, cursor: common });
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        if let Some(at_least) = unproven
            && mark(engine, POLL.min(rest)).await? >= at_least
        {
            unproven = None;
            target = store.view().await?.last_log_seq(tenant, Some(at_least)).await?;
            continue;
        }
        if !rest.is_zero() {
            drop(view);
            tokio::time::sleep(POLL.min(rest)).await;
            continue;
        }
        let events = view.count_events(tenant, cursor, target, STALE_EVENTS_MAX).await?;
        if !freshness.allow_stale {
            let (cursor, target) = (number(cursor.0), number(target.0));
            let more = if events >= STALE_EVENTS_MAX { "+" } else { "" };
            let lag = format!("{}{more} events have not been applied", number(events));
            let message = match (freshness.at_least, unproven) {
                (None, _) => {
                    format!("{tenant}/{projection} is at {cursor} and the tenant's last event is {target}: {lag}")
                }
                (Some(_), None) => {
                    format!("{tenant}/{projection} is at {cursor} and the query asks for {target}: {lag}")
                }
                (Some(_), Some(_)) => format!(
                    "{tenant}/{projection} is at {cursor} and the query asks for {target}: events may still appear there"
                ),
            };
            return Err(StoreError::new(Category::ProjectionOutOfDate, message));
        }
        let stale = Staleness { projection: projection.to_owned(), cursor, last_log_seq: target, events };
        return Ok(CurrentView { view, generations, stale: Some(stale), cursor: common });
    }
}

/// Reads the mark, as far as it is known after this wait. A standby knows none.
async fn mark(engine: &Engine, wait: Duration) -> Result<LogSeq> {
    match engine.read_mark(wait).await {
        Ok(reading) => Ok(reading.mark.at),
        Err(error) if error.transient || error.unfit => Ok(LogSeq::ORIGIN),
        Err(error) => Err(error),
    }
}
