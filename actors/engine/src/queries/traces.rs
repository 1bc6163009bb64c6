//! Traces and events as they were recorded.

use super::rows::{by_key, summary_of};
use decisiongraph_projections::catalogue::TRACE_SUMMARY;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::query::{EventRecord, Summary};
use decisiongraph_store::{Generation, PageLimit, ReadView, Result};
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
