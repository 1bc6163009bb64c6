//! Traces and events as they were recorded.

use super::rows::{by_key, summary_of};
use decisiongraph_projections::catalogue::TRACE_SUMMARY;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::query::{EventRecord, Summary};
use decisiongraph_store::{EventFilter, Generation, PageLimit, Paged, ReadView, Result};
use std::collections::BTreeSet;

/// Reads the trace's summary row.
pub async fn trace_summary(
    view: &dyn ReadView,
    tenant: &TenantId,
    generation: Option<Generation>,
    trace_id: &str,
) -> Result<Option<Summary>> {
    let Some(generation) = generation else { return Ok(None) };
    let keys = BTreeSet::from([trace_id.to_owned()]);
    Ok(by_key(view, tenant, TRACE_SUMMARY, generation, 0, keys).await?.first().map(summary_of))
}

/// Reads events of a trace behind `after`; the flag is true when there are more.
pub async fn trace_events(
    view: &dyn ReadView,
    tenant: &TenantId,
    trace_id: &str,
    after: LogSeq,
    limit: PageLimit,
) -> Result<(Vec<EventRecord>, bool)> {
    let page = view.trace_events(tenant, trace_id, after, limit).await?;
    Ok((page.items.into_iter().map(EventRecord::from).collect(), page.more))
}

/// A page of a choice of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Events in order.
    pub events: Vec<EventRecord>,
    /// Position up to which events were looked at.
    pub to: LogSeq,
    /// True when the stretch goes on behind it.
    pub more: bool,
}

/// Reads a choice of events in a stretch of the log: behind `after`, up to `upto`. `event_id` names the only one. Looks
/// at `scanned_max` events at most, whether or not the filter takes them.
pub async fn events(
    view: &dyn ReadView,
    tenant: &TenantId,
    event_id: Option<&str>,
    filter: &EventFilter,
    (after, upto): (LogSeq, LogSeq),
    limit: PageLimit,
    scanned_max: usize,
) -> Result<Scanned> {
    let (mut from, mut to) = (after, upto);
    if let Some(event_id) = event_id {
        match view.position_of(tenant, event_id).await? {
            Some(at) if at > after && at <= upto => (from, to) = (LogSeq(at.0 - 1), at),
            _ => return Ok(Scanned { events: Vec::new(), to: upto.max(after), more: false }),
        }
    } else if filter.leaves_out()
        && let Some(last) = view.nth_position(tenant, filter.trace_id.as_deref(), from, to, scanned_max).await?
    {
        to = last;
    }
    let Paged { items, more } = view.chosen_events(tenant, filter, from, to, limit).await?;
    // Of one event nothing follows.
    let end = if event_id.is_some() { upto } else { to };
    let to = if more { items.last().map_or(from, |last| last.log_seq) } else { end };
    let events = items.into_iter().map(EventRecord::from).collect();
    Ok(Scanned { events, to: to.max(after), more: more || end < upto })
}
