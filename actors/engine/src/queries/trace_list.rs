//! The list of traces: their starts out of the log, or their finishes out of the summaries, latest first.
//!
//! *Guarantees.* The place of a trace in the list never changes: pages neither repeat nor miss one, whatever starts and
//! ends meanwhile. A page costs what it looks at, at most [`TRACES_SCANNED_MAX`] traces.

use super::edges::edges_within;
use super::freshness::CurrentView;
use super::rows::{by_key, summary_of};
use decisiongraph_projections::catalogue::TRACE_SUMMARY;
use decisiongraph_projections::{LogSeq, TenantId, rfc3339};
use decisiongraph_protocol::query::Summary;
use decisiongraph_protocol::{
    LastEvent, TRACES_SCANNED_MAX, TraceEntry, TraceFilter, TraceOrder, TraceQuery, TraceStatus, TracesPage,
};
use decisiongraph_store::{Result, TraceEnds};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Most traces that are looked at together.
const CHUNK: usize = 500;
/// Traces that one look into the graph counts for.
const INVOLVED_COUNTS_FOR: usize = 10;

/// Lists traces, as far as the summaries of this view know them. The view's first generation is that of the summaries,
/// its second that of the graph, if the filter needs it.
pub async fn traces(current: &CurrentView, tenant: &TenantId, query: &TraceQuery) -> Result<TracesPage> {
    traces_of(current, tenant, query, TRACES_SCANNED_MAX).await
}

/// Lists traces; looks at `scanned_max` of them at most.
pub async fn traces_of(
    current: &CurrentView,
    tenant: &TenantId,
    query: &TraceQuery,
    scanned_max: usize,
) -> Result<TracesPage> {
    query.validate()?;
    let TraceQuery { order, before, limit, filter } = query;
    let page = |traces, next| Ok(TracesPage { traces, next, upto: current.cursor });
    let (view, limit) = (&*current.view, usize::try_from(*limit).unwrap_or_default());
    let Some(summaries) = current.generations[0] else { return page(Vec::new(), None) };
    let graph = current.generations.get(1).copied().flatten();
    let behind_all = LogSeq(current.cursor.0.saturating_add(1));
    let mut before = before.map_or(behind_all, |before| before.min(behind_all));
    let (mut entries, mut rest, mut wanted) = (Vec::new(), scanned_max, limit.saturating_add(1));
    while rest > 0 {
        wanted = wanted.min(CHUNK).min(rest);
        let found = match order {
            TraceOrder::Started => view.starts(tenant, before, wanted).await?,
            TraceOrder::Finished => view.finishes(tenant, summaries, before, wanted).await?,
        };
        rest -= found.len();
        let keys: BTreeSet<String> = found.iter().map(|(_, trace)| trace.to_string()).collect();
        let rows = by_key(view, tenant, TRACE_SUMMARY, summaries, 0, keys).await?;
        let summaries_of: HashMap<String, Summary> = rows
            .iter()
            .map(summary_of)
            .filter(|summary| fits(filter, summary))
            .map(|summary| (summary.trace_id.clone(), summary))
            .collect();
        let fitting: BTreeSet<Arc<str>> = summaries_of.keys().map(|trace| Arc::from(trace.as_str())).collect();
        let ends = view.trace_ends(tenant, &fitting, current.cursor, &filter.event_types).await?;
        let whole = found.len() < wanted;
        for (index, (place, trace)) in found.iter().enumerate() {
            before = *place;
            let Some((summary, ends)) = summaries_of.get(&**trace).zip(ends.get(trace)) else { continue };
            if !starts_so(filter, ends) {
                continue;
            }
            if let Some(node) = &filter.involves {
                rest = rest.saturating_sub(INVOLVED_COUNTS_FOR);
                let span = (ends.started, ends.last);
                if !edges_within(view, tenant, graph, node, span, trace).await? {
                    if rest == 0 {
                        return page(entries, Some(before));
                    }
                    continue;
                }
            }
            entries.push(entry(summary.clone(), ends));
            if entries.len() == limit {
                let last = whole && index + 1 == found.len();
                return page(entries, (!last).then_some(before));
            }
        }
        if whole {
            return page(entries, None);
        }
        wanted = CHUNK;
    }
    page(entries, Some(before))
}

fn entry(summary: Summary, ends: &TraceEnds) -> TraceEntry {
    TraceEntry {
        status: status(&summary),
        summary,
        started_log_seq: ends.started,
        // Numbers begin at 0 and have no gap.
        events_stored: ends.last_trace_seq.saturating_add(1),
        last_event: LastEvent {
            log_seq: ends.last,
            event_type: ends.last_event_type.clone(),
            occurred_at: ends.last_at.clone(),
        },
    }
}

fn status(summary: &Summary) -> TraceStatus {
    if summary.finished_at.is_some() { TraceStatus::Finished } else { TraceStatus::Open }
}

/// True when the summary fits the filter.
fn fits(filter: &TraceFilter, summary: &Summary) -> bool {
    let is = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
    let begins = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| text.starts_with(wanted));
    filter.status.is_none_or(|wanted| wanted == status(summary))
        && is(&filter.workflow, Some(&summary.workflow))
        && is(&filter.outcome, summary.outcome.as_deref())
        && is(&filter.entity_type, summary.primary_entity_type.as_deref())
        && is(&filter.entity_id, summary.primary_entity_id.as_deref())
        && begins(&filter.title_prefix, &summary.title)
        && begins(&filter.trace_id_prefix, &summary.trace_id)
}

/// True when the start of a trace fits the filter.
fn starts_so(filter: &TraceFilter, ends: &TraceEnds) -> bool {
    let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    let bound = |time: &Option<String>, fits: fn(&rfc3339::Instant<'_>, &rfc3339::Instant<'_>) -> bool| {
        let Some(bound) = time.as_deref().and_then(rfc3339::instant) else { return time.is_none() };
        rfc3339::instant(&ends.started_at).is_some_and(|started| fits(&started, &bound))
    };
    is(&filter.actor_type, &ends.actor.actor_type)
        && is(&filter.actor_id, &ends.actor.actor_id)
        && filter.tag.as_ref().is_none_or(|tag| ends.tags.contains(tag))
        && bound(&filter.occurred_since, |started, since| started >= since)
        && bound(&filter.occurred_until, |started, until| started <= until)
}
