//! Traces and events as they were recorded.

use super::rows::{Summary, by_key};
use decisiongraph_projections::catalogue::TRACE_SUMMARY;
use decisiongraph_projections::event::{Actor, Source};
use decisiongraph_projections::{LogSeq, StoredEvent, TenantId};
use decisiongraph_store::{Generation, PageLimit, ReadView, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// Most events of one page.
pub const EVENTS_PAGE_MAX: usize = 10_000;

/// A stored event as replies show it. In JSON its payload is the stored text itself, digit for digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EventRecord {
    pub log_seq: LogSeq,
    pub event_id: String,
    pub trace_id: String,
    pub trace_seq: i64,
    pub event_type: String,
    pub occurred_at: String,
    pub recorded_at: String,
    pub source: Source,
    pub actor: Actor,
    pub idempotency_key: String,
    pub correlation_id: Option<String>,
    pub causation_event_id: Option<String>,
    pub schema_version: i64,
    pub tags: Vec<String>,
    #[serde(serialize_with = "payload_out", deserialize_with = "payload_in")]
    pub payload: String,
    pub payload_hash: String,
    /// What of it cannot be read; absent of a whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl From<StoredEvent> for EventRecord {
    fn from(event: StoredEvent) -> EventRecord {
        let e = event.envelope;
        EventRecord {
            log_seq: event.log_seq,
            event_id: e.event_id,
            trace_id: e.trace_id,
            trace_seq: e.trace_seq,
            event_type: e.event_type,
            occurred_at: e.occurred_at,
            recorded_at: event.recorded_at,
            source: e.source,
            actor: e.actor,
            idempotency_key: e.idempotency_key,
            correlation_id: e.correlation_id,
            causation_event_id: e.causation_event_id,
            schema_version: e.schema_version,
            tags: e.tags,
            payload: event.payload,
            payload_hash: event.payload_hash,
            fault: event.fault,
        }
    }
}

/// In a readable format the payload is JSON within JSON; a corrupted one, and any binary format, gets it as text.
fn payload_out<S: Serializer>(payload: &str, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match serializer.is_human_readable().then(|| RawValue::from_string(payload.to_owned())) {
        Some(Ok(raw)) => raw.serialize(serializer),
        _ => serializer.serialize_str(payload),
    }
}

fn payload_in<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    if deserializer.is_human_readable() {
        Box::<RawValue>::deserialize(deserializer).map(|raw| String::from(Box::<str>::from(raw)))
    } else {
        String::deserialize(deserializer)
    }
}

/// The trace's summary row.
pub async fn trace_summary(
    view: &dyn ReadView,
    tenant: &TenantId,
    generation: Option<Generation>,
    trace_id: &str,
) -> Result<Option<Summary>> {
    let Some(generation) = generation else { return Ok(None) };
    let keys = BTreeSet::from([trace_id.to_owned()]);
    Ok(by_key(view, tenant, TRACE_SUMMARY, generation, 0, keys).await?.first().map(Summary::of))
}

/// Events of a trace behind `after`, and whether there are more.
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
