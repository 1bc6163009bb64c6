//! The view of a query: a snapshot in which the projections it needs have seen the tenant's last event.
//!
//! *Guarantees.* Generations and rows are of one instant. A projection that is behind the tenant's last event *at the
//! query's start* is refused as `projection_out_of_date`, after waiting. Events that arrive meanwhile do not count. A
//! query may name the position that is enough ([`Freshness::at_least`]), so that it need not chase a busy log. A query
//! that waits holds no connection and polls nothing: it is woken ([`crate::waits`]), and looks once more at its end.

use crate::Engine;
use crate::waits::LOOK_EVERY;
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId};
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::query::{Freshness, RowsState, STALE_EVENTS_MAX, Staleness};
use decisiongraph_store::{Generation, ReadView, Result, Scope, StoreError};
use std::time::Duration;
use tokio::time::Instant;

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
    /// State of the rows of each; none when one is behind, or when the query did not ask for the tenant's last event.
    pub rows: Vec<RowsState>,
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
    let (mut waiting, mut woken) = (None, false);
    loop {
        let view = store.snapshot().await?;
        let mut generations = Vec::with_capacity(projections.len());
        let (mut behind, mut common, mut rows) = (Vec::new(), LogSeq(i64::MAX), Vec::new());
        for projection in projections {
            let row = view.scope(&Scope::new(tenant, *projection)).await?;
            let cursor = row.as_ref().map_or(LogSeq::ORIGIN, |row| row.position.cursor);
            common = common.min(cursor);
            if cursor < target {
                behind.push((projection.name(), cursor));
            }
            generations.push(row.as_ref().map(|row| row.generation));
            rows.extend(row.filter(|_| freshness.at_least.is_none()).map(|row| RowsState {
                generation: row.generation,
                cursor,
                last_log_seq: target.max(cursor),
                digest: row.position.digest.to_text(),
            }));
        }
        let Some((projection, cursor)) = behind.iter().copied().min_by_key(|(_, cursor)| *cursor) else {
            rows.truncate(if rows.len() == projections.len() { rows.len() } else { 0 });
            return Ok(CurrentView { view, generations, stale: None, cursor: common, rows });
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        if let Some(at_least) = unproven
            && is_proven(engine, at_least, Duration::ZERO).await?
        {
            unproven = None;
            target = store.view().await?.last_log_seq(tenant, Some(at_least)).await?;
            continue;
        }
        if !rest.is_zero() {
            drop(view);
            let Some(waiting) = &mut waiting else {
                // What moved before is not told: look again.
                waiting = Some(engine.waits().begin(store, tenant));
                continue;
            };
            if woken {
                // The cursors that were told are not those of the database: it was put back.
                tokio::time::sleep(LOOK_EVERY.min(rest)).await;
            }
            let behind: Vec<&'static str> = behind.iter().map(|(projection, _)| *projection).collect();
            let proven = async {
                match unproven {
                    Some(at_least) => is_proven(engine, at_least, rest).await,
                    None => std::future::pending().await,
                }
            };
            woken = tokio::select! {
                () = waiting.reached(&behind, target) => true,
                proven = proven => proven.map(|_| false)?,
                () = tokio::time::sleep_until(deadline) => false,
            };
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
        return Ok(CurrentView { view, generations, stale: Some(stale), cursor: common, rows: Vec::new() });
    }
}

/// Tells if the mark is at this position, after waiting at most so long. A standby knows no mark.
async fn is_proven(engine: &Engine, position: LogSeq, wait: Duration) -> Result<bool> {
    match engine.mark_reached(position, wait).await {
        Err(error) if error.transient || error.unfit => {
            tokio::time::sleep(wait).await;
            Ok(false)
        }
        known => known,
    }
}
