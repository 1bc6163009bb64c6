//! Appending: set look-ups read the log's state of the offered events, pure rules give the verdicts, then one INSERT
//! stores.
//!
//! *Guarantees.* Atomic: one statement stores everything that is stored. No sequence number is drawn for a refused or
//! repeated event. (True races are the exception: two producers at the same place at the same time.) Look-ups use
//! hashes; the text decides.

use super::PostgresStore;
use super::errors::During as _;
use super::log::SQL;
use super::rows::{Param, refs};
use super::values::Key;
use crate::columns::Stored as _;
use crate::decode::Keyed;
use crate::{AppendMode, Result, StoreError, Verdict, decide};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::event::{Envelope, tags_to_json};
use decisiongraph_projections::sequence::{AppendPrior, TraceState, plan};
use decisiongraph_projections::{Admitted, Category, LogSeq, RowKey, TenantId};
use std::collections::BTreeSet;

/// Most attempts to plan a batch again after a lost race.
const RACES_MAX: usize = 5;

pub(super) async fn append(
    store: &PostgresStore,
    tenant: &TenantId,
    events: &[Admitted],
    mode: AppendMode,
) -> Result<Vec<Verdict>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let client = store.connections.get().await?;
    let mut lost = None;
    for _ in 0..RACES_MAX {
        let prior = load_prior(&client, tenant, events).await?;
        let planned = plan(&prior, events);
        let new = decide::stored(&planned, mode);
        let positions = match insert(&client, tenant, events, &new).await {
            Ok(positions) => positions,
            // Another append stored one of them in between: the stored state now decides.
            Err(error) if error.duplicate => {
                lost = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        drop(client);
        if !new.is_empty() {
            store.waker.wake(&store.connections);
        }
        return Ok(decide::verdicts(events, planned, &new, positions));
    }
    let message = lost.map(|error| error.message).unwrap_or_default();
    Err(StoreError::transient(
        Category::Storage,
        format!("append lost {RACES_MAX} races against other producers of the same traces: {message}"),
    ))
}

async fn load_prior(client: &ClientWrapper, tenant: &TenantId, events: &[Admitted]) -> Result<AppendPrior> {
    let what = "look up what is stored";
    let tenant = tenant.as_str();
    let by_idempotency = client.prepare_cached(sql!(SQL, "append_idempotency")).await.during(what)?;
    let by_trace = client.prepare_cached(sql!(SQL, "append_trace")).await.during(what)?;
    let by_event = client.prepare_cached(sql!(SQL, "append_event_id")).await.during(what)?;

    let keys: BTreeSet<(&str, &str)> = events
        .iter()
        .map(|event| (event.envelope().source.producer_id.as_str(), event.envelope().idempotency_key.as_str()))
        .collect();
    let uids: Vec<Key> = keys.iter().map(|(producer, key)| RowKey::of_parts(&[producer, key]).into()).collect();
    let (producers, words): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
    let distinct = |text: fn(&Envelope) -> &str| -> (Vec<Key>, Vec<&str>) {
        let texts: BTreeSet<&str> = events.iter().map(|event| text(event.envelope())).collect();
        texts.into_iter().map(|text| (Key::from(RowKey::of(text)), text)).unzip()
    };
    let (trace_keys, traces) = distinct(|envelope| &envelope.trace_id);
    let (event_keys, event_ids) = distinct(|envelope| &envelope.event_id);

    // Idempotency comes last: each statement has its own snapshot, and the pipeline keeps their order. If it came
    // first, another producer's commit in between might show its trace but not its key. A legal repeat would then be
    // refused. Events that the earlier look-ups miss are found by the unique keys.
    let (traces, taken, stored) = futures_util::future::join3(
        client.query(&by_trace, &[&tenant, &trace_keys, &traces]),
        client.query(&by_event, &[&tenant, &event_keys, &event_ids]),
        client.query(&by_idempotency, &[&tenant, &uids, &producers, &words]),
    )
    .await;
    // The error of the first statement that failed, as in `errors::answers`.
    let (traces, taken, stored) = (traces.during(what)?, taken.during(what)?, stored.during(what)?);

    let mut prior = AppendPrior::default();
    for row in &stored {
        let Keyed { key, identity } = Keyed::read(row)?;
        prior.by_idempotency.insert(key, identity);
    }
    for row in &traces {
        let (trace_id, latest, finished) = <(String, i64, bool)>::read(row)?;
        prior.traces.insert(trace_id, TraceState::behind(latest, finished));
    }
    prior.event_ids = taken.into_iter().map(|row| row.get(0)).collect();
    Ok(prior)
}

/// Stores the events at these indexes, in order, and returns their positions in the log.
async fn insert(client: &ClientWrapper, tenant: &TenantId, events: &[Admitted], new: &[usize]) -> Result<Vec<LogSeq>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let what = "append events";
    let chosen = || new.iter().map(|index| &events[*index]);
    let envelopes = || chosen().map(Admitted::envelope);
    fn text<'a>(values: impl Iterator<Item = &'a str>) -> Param<'a> {
        Box::new(values.collect::<Vec<_>>())
    }
    fn optional<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Param<'a> {
        Box::new(values.collect::<Vec<_>>())
    }
    fn ints<'a>(values: impl Iterator<Item = i64>) -> Param<'a> {
        Box::new(values.collect::<Vec<_>>())
    }
    fn keys<'a>(values: impl Iterator<Item = RowKey>) -> Param<'a> {
        Box::new(values.map(Key::from).collect::<Vec<_>>())
    }
    let tags: Vec<String> = envelopes()
        .map(|envelope| {
            let mut json = String::new();
            tags_to_json(&mut json, &envelope.tags);
            json
        })
        .collect();
    let params: Vec<Param<'_>> = vec![
        Box::new(tenant.as_str()),
        ints(envelopes().map(|e| e.trace_seq)),
        ints(envelopes().map(|e| e.schema_version)),
        keys(envelopes().map(|e| RowKey::of(&e.event_id))),
        keys(envelopes().map(|e| RowKey::of(&e.trace_id))),
        keys(envelopes().map(|e| RowKey::of_parts(&[&e.source.producer_id, &e.idempotency_key]))),
        text(envelopes().map(|e| e.event_id.as_str())),
        text(envelopes().map(|e| e.trace_id.as_str())),
        text(envelopes().map(|e| e.event_type.as_str())),
        text(envelopes().map(|e| e.occurred_at.as_str())),
        text(envelopes().map(|e| e.source.producer_id.as_str())),
        text(envelopes().map(|e| e.source.system.as_str())),
        optional(envelopes().map(|e| e.source.subsystem.as_deref())),
        text(envelopes().map(|e| e.actor.actor_type.as_str())),
        text(envelopes().map(|e| e.actor.actor_id.as_str())),
        text(envelopes().map(|e| e.idempotency_key.as_str())),
        optional(envelopes().map(|e| e.correlation_id.as_deref())),
        optional(envelopes().map(|e| e.causation_event_id.as_deref())),
        text(tags.iter().map(String::as_str)),
        text(chosen().map(Admitted::payload_hash)),
        text(chosen().map(Admitted::payload)),
    ];
    let statement = client.prepare_cached(sql!(SQL, "append_insert")).await.during(what)?;
    let rows = client.query_raw(&statement, refs(&params)).await.during(what)?;
    let rows: Vec<tokio_postgres::Row> = futures_util::TryStreamExt::try_collect(rows).await.during(what)?;
    if rows.len() != new.len() {
        return Err(StoreError::internal(format!("{} of {} events were stored", rows.len(), new.len())));
    }
    Ok(rows.iter().map(|row| LogSeq(row.get(0))).collect())
}
