//! The view of a query: a snapshot in which the projections it needs have seen the tenant's last event.
//!
//! *Guarantees.* Generations and rows are of one instant. A projection that is behind the tenant's last event *at the
//! query's start* is refused as `projection_out_of_date`, after waiting. Events that arrive meanwhile do not count.

use decisiongraph_projections::{Category, LogSeq, Projection, TenantId};
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::query::{Freshness, STALE_EVENTS_MAX, Staleness};
use decisiongraph_store::{Generation, ReadView, Result, Scope, Store, StoreError};
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
}

/// Waits until these projections have seen the tenant's last event, and opens the snapshot in which that is so.
pub async fn current_view(
    store: &dyn Store,
    tenant: &TenantId,
    projections: &[&'static dyn Projection],
    freshness: Freshness,
) -> Result<CurrentView> {
    let target = store.view().await?.last_log_seq(tenant, None).await?;
    let deadline = Instant::now() + Duration::from_millis(freshness.wait_ms);
    loop {
        let view = store.snapshot().await?;
        let mut generations = Vec::with_capacity(projections.len());
        let mut behind: Option<(&'static str, LogSeq)> = None;
        for projection in projections {
            let row = view.scope(&Scope::new(tenant, *projection)).await?;
            let cursor = row.as_ref().map_or(LogSeq::ORIGIN, |row| row.position.cursor);
            if cursor < target && behind.is_none_or(|(_, worst)| cursor < worst) {
                behind = Some((projection.name(), cursor));
            }
            generations.push(row.map(|row| row.generation));
        }
        let Some((projection, cursor)) = behind else {
            return Ok(CurrentView { view, generations, stale: None });
        };
        let now = Instant::now();
        if now < deadline {
            drop(view);
            tokio::time::sleep(POLL.min(deadline - now)).await;
            continue;
        }
        let events = view.count_events(tenant, cursor, target, STALE_EVENTS_MAX).await?;
        let more = if events >= STALE_EVENTS_MAX { "+" } else { "" };
        if !freshness.allow_stale {
            return Err(StoreError::new(
                Category::ProjectionOutOfDate,
                format!(
                    "{tenant}/{projection} is at {} and the tenant's last event is {}: {}{more} events have not been applied",
                    number(cursor.0),
                    number(target.0),
                    number(events)
                ),
            ));
        }
        let stale = Staleness { projection: projection.to_owned(), cursor, last_log_seq: target, events };
        return Ok(CurrentView { view, generations, stale: Some(stale) });
    }
}
