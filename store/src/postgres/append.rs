//! Appending: pure rules decide about the offered events, then one statement stores what is new.
//!
//! ```text
//!   offers that wait ──▶ the log as if all of them continue it ──▶ one INSERT that proves it ──▶ stored
//!                                                                       │ it does not hold: nothing is drawn
//!                                                                       ▼
//!                        the log as it is: set look-ups ──▶ rules ──▶ INSERT of what is new
//! ```
//!
//! *Guarantees.* Atomic per offer: one statement stores everything that is stored. No sequence number is drawn for a
//! refused or repeated event. (True races are the exception: two producers at the same place at the same time.)
//! Look-ups use hashes; the text decides. Small offers that wait at the same time share a statement. When one of them
//! fails, each gets a statement of its own.

use super::PostgresStore;
use super::errors::During as _;
use super::log::SQL;
use super::pool::Connections;
use super::rows::{Param, refs};
use super::values::Key;
use crate::columns::Stored as _;
use crate::decode::Keyed;
use crate::{AppendMode, Result, StoreError, Verdict, decide};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::event::{Envelope, tags_to_json};
use decisiongraph_projections::sequence::{AppendPrior, Planned, TraceState, plan};
use decisiongraph_projections::{Admitted, Category, LogSeq, RowKey, TenantId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most attempts to plan a batch again after a lost race.
const RACES_MAX: usize = 5;
/// Most events of an offer that shares a statement.
const SHARED_EVENTS_MAX: usize = 64;
/// Most offers in one statement, and most bytes of their payloads. A larger offer is alone.
const OFFERS_MAX: usize = 64;
const BYTES_MAX: usize = 1024 * 1024;

/// Events of one tenant, offered together.
struct Offer<'a> {
    tenant: &'a TenantId,
    events: &'a [Admitted],
    mode: AppendMode,
}

/// An offer that waits.
pub(super) struct Waiting {
    tenant: TenantId,
    events: Vec<Admitted>,
    mode: AppendMode,
    answer: oneshot::Sender<Result<Vec<Verdict>>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.payload().len()).sum()
    }

    fn offer(&self) -> Offer<'_> {
        Offer { tenant: &self.tenant, events: &self.events, mode: self.mode }
    }
}

/// Appends the events, with other offers that wait if there are few of them.
pub(super) async fn append(
    store: &PostgresStore,
    tenant: &TenantId,
    events: &[Admitted],
    mode: AppendMode,
) -> Result<Vec<Verdict>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let connections = &store.connections;
    let verdicts = if events.len() > SHARED_EVENTS_MAX {
        let client = connections.get().await?;
        alone(&client, &Offer { tenant, events, mode }).await?
    } else {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { tenant: tenant.clone(), events: events.to_vec(), mode, answer };
        let place = place(tenant, connections.offers.len());
        let _waits = connections.offers[place].submit(waiting, || serve(Arc::clone(connections), place));
        let gone = || StoreError::transient(Category::OutcomeUnknown, "the task that appends broke off; append again");
        answered.await.unwrap_or_else(|_| Err(gone()))?
    };
    if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Accepted { .. })) {
        store.waker.wake(connections);
    }
    Ok(verdicts)
}

/// Chooses the queue of a tenant: offers of one tenant do not race each other.
fn place(tenant: &TenantId, queues: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    tenant.as_str().hash(&mut hasher);
    hasher.finish() as usize % queues
}

async fn serve(connections: Arc<Connections>, place: usize) {
    let mut service = connections.offers[place].service();
    loop {
        // Producers that were just answered offer their next events first, and share the next statement.
        tokio::task::yield_now().await;
        let Some((offers, _)) = service.take(OFFERS_MAX, BYTES_MAX, Waiting::bytes) else { return };
        let client = match connections.get().await {
            Ok(client) => client,
            Err(error) => {
                offers.into_iter().for_each(|waiting| drop(waiting.answer.send(Err(error.clone()))));
                continue;
            }
        };
        let together: Vec<Offer<'_>> = offers.iter().map(Waiting::offer).collect();
        let answers = match together.len() {
            1 => vec![None],
            // Each alone explains itself.
            many => attempt(&client, &together).await.unwrap_or_else(|_| vec![None; many]),
        };
        for (waiting, answer) in offers.into_iter().zip(answers) {
            let answer = match answer {
                Some(verdicts) => Ok(verdicts),
                None => alone(&client, &waiting.offer()).await,
            };
            let _ = waiting.answer.send(answer);
        }
    }
}

/// Appends one offer.
async fn alone(client: &ClientWrapper, offer: &Offer<'_>) -> Result<Vec<Verdict>> {
    let mut lost = None;
    for _ in 0..RACES_MAX {
        match attempt(client, std::slice::from_ref(offer)).await {
            Ok(mut answers) => match answers.pop().flatten() {
                Some(verdicts) => return Ok(verdicts),
                None => return Err(StoreError::internal("an offer without company was left out")),
            },
            // Another append stored one of them in between: the stored state now decides.
            Err(error) if error.duplicate => lost = Some(error),
            Err(error) => return Err(error),
        }
    }
    let message = lost.map(|error| error.message).unwrap_or_default();
    Err(StoreError::transient(
        Category::Storage,
        format!("append lost {RACES_MAX} races against other producers of the same traces: {message}"),
    ))
}

/// Offers of one tenant, in their order.
struct Tenant<'a> {
    tenant: &'a TenantId,
    /// Offers, by index.
    offers: Vec<usize>,
    events: Vec<&'a Admitted>,
}

/// Appends these offers with one statement. None: an offer that has to be alone.
async fn attempt(client: &ClientWrapper, offers: &[Offer<'_>]) -> Result<Vec<Option<Vec<Verdict>>>> {
    let mut tenants: BTreeMap<&TenantId, Tenant<'_>> = BTreeMap::new();
    for (index, offer) in offers.iter().enumerate() {
        let none = || Tenant { tenant: offer.tenant, offers: Vec::new(), events: Vec::new() };
        let tenant = tenants.entry(offer.tenant).or_insert_with(none);
        tenant.offers.push(index);
        tenant.events.extend(offer.events);
    }
    let tenants: Vec<Tenant<'_>> = tenants.into_values().collect();
    let new = |planned: &[Planned]| planned.iter().all(|planned| *planned == Planned::Store);
    let assumed: Vec<Vec<Planned>> =
        tenants.iter().map(|it| plan(&AppendPrior::assumed(&it.events), &it.events)).collect();
    if assumed.iter().all(|planned| new(planned)) {
        let events: Vec<Event<'_>> = tenants.iter().flat_map(events_of).collect();
        let positions = insert(client, &events, true).await?;
        if positions.len() == events.len() {
            return Ok(answers(offers, &tenants, assumed, positions));
        }
    }
    let prior = load_prior(client, &tenants).await?;
    let mut planned: Vec<Vec<Planned>> = Vec::new();
    for (tenant, prior) in tenants.iter().zip(&prior) {
        planned.push(plan(prior, &tenant.events));
    }
    // An offer that is stored whole or not at all, and is not, was counted on by the offers behind it.
    let torn = |(tenant, planned): (&Tenant<'_>, &Vec<Planned>)| {
        tenant.offers.len() > 1
            && tenant.offers.iter().any(|offer| offers[*offer].mode == AppendMode::AllOrNothing)
            && planned.iter().any(|planned| matches!(planned, Planned::Refuse(_)))
    };
    if tenants.iter().zip(&planned).any(torn) {
        return Ok(vec![None; offers.len()]);
    }
    let mut events = Vec::new();
    for (tenant, planned) in tenants.iter().zip(&planned) {
        let new = decide::stored(planned, mode_of(offers, tenant));
        events.extend(new.into_iter().map(|index| (tenant.tenant, tenant.events[index])));
    }
    let positions = insert(client, &events, false).await?;
    Ok(answers(offers, &tenants, planned, positions))
}

type Event<'a> = (&'a TenantId, &'a Admitted);

fn events_of<'a>(tenant: &'a Tenant<'a>) -> impl Iterator<Item = Event<'a>> {
    tenant.events.iter().map(|event| (tenant.tenant, *event))
}

/// Returns the mode of a tenant's offers: with one offer its own. Several store each of their new events.
fn mode_of(offers: &[Offer<'_>], tenant: &Tenant<'_>) -> AppendMode {
    match tenant.offers.as_slice() {
        [offer] => offers[*offer].mode,
        _ => AppendMode::Each,
    }
}

/// Gives the positions to the events of the offers that were stored, in their order.
fn answers(
    offers: &[Offer<'_>],
    tenants: &[Tenant<'_>],
    planned: Vec<Vec<Planned>>,
    positions: Vec<LogSeq>,
) -> Vec<Option<Vec<Verdict>>> {
    let mut positions = positions.into_iter();
    let mut answers: Vec<Option<Vec<Verdict>>> = offers.iter().map(|_| None).collect();
    for (tenant, planned) in tenants.iter().zip(planned) {
        let new = decide::stored(&planned, mode_of(offers, tenant));
        let stored = positions.by_ref().take(new.len());
        let mut verdicts = decide::verdicts(&tenant.events, planned, &new, stored).into_iter();
        for offer in &tenant.offers {
            answers[*offer] = Some(verdicts.by_ref().take(offers[*offer].events.len()).collect());
        }
    }
    answers
}

/// Looks up what is stored of these tenants' events, in the order of the tenants.
async fn load_prior(client: &ClientWrapper, tenants: &[Tenant<'_>]) -> Result<Vec<AppendPrior>> {
    let what = "look up what is stored";
    let by_idempotency = client.prepare_cached(sql!(SQL, "append_idempotency")).await.during(what)?;
    let by_trace = client.prepare_cached(sql!(SQL, "append_trace")).await.during(what)?;
    let by_event = client.prepare_cached(sql!(SQL, "append_event_id")).await.during(what)?;

    let envelopes = || tenants.iter().flat_map(events_of).map(|(tenant, event)| (tenant.as_str(), event.envelope()));
    let keys: BTreeSet<(&str, &str, &str)> = envelopes()
        .map(|(tenant, envelope)| (tenant, envelope.source.producer_id.as_str(), envelope.idempotency_key.as_str()))
        .collect();
    let uids: Vec<Key> = keys.iter().map(|(_, producer, key)| RowKey::of_parts(&[producer, key]).into()).collect();
    let (of_keys, (producers, words)): (Vec<&str>, (Vec<&str>, Vec<&str>)) =
        keys.into_iter().map(|(tenant, producer, word)| (tenant, (producer, word))).unzip();
    let distinct = |text: fn(&Envelope) -> &str| -> (Vec<&str>, (Vec<Key>, Vec<&str>)) {
        let texts: BTreeSet<(&str, &str)> = envelopes().map(|(tenant, envelope)| (tenant, text(envelope))).collect();
        texts.into_iter().map(|(tenant, text)| (tenant, (Key::from(RowKey::of(text)), text))).unzip()
    };
    let (of_traces, (trace_keys, traces)) = distinct(|envelope| &envelope.trace_id);
    let (of_ids, (event_keys, event_ids)) = distinct(|envelope| &envelope.event_id);

    // Idempotency comes last: each statement has its own snapshot, and the pipeline keeps their order. If it came
    // first, another producer's commit in between might show its trace but not its key. A legal repeat would then be
    // refused. Events that the earlier look-ups miss are found by the unique keys.
    let (traces, taken, stored) = futures_util::future::join3(
        client.query(&by_trace, &[&of_traces, &trace_keys, &traces]),
        client.query(&by_event, &[&of_ids, &event_keys, &event_ids]),
        client.query(&by_idempotency, &[&of_keys, &uids, &producers, &words]),
    )
    .await;
    // The error of the first statement that failed, as in `errors::answers`.
    let (traces, taken, stored) = (traces.during(what)?, taken.during(what)?, stored.during(what)?);

    let mut prior: HashMap<&str, AppendPrior> = HashMap::new();
    for row in &stored {
        let Keyed { key, identity } = Keyed::read(row)?;
        prior.entry(row.get(15)).or_default().by_idempotency.insert(key, identity);
    }
    for row in &traces {
        let state = TraceState::behind(row.get(2), row.get(3));
        prior.entry(row.get(0)).or_default().traces.insert(row.get(1), state);
    }
    for row in &taken {
        prior.entry(row.get(0)).or_default().event_ids.insert(row.get(1));
    }
    Ok(tenants.iter().map(|it| prior.remove(it.tenant.as_str()).unwrap_or_default()).collect())
}

/// Stores these events, in order, and returns their positions in the log. With `prove`, none of them unless each is
/// where its trace continues and has a new id and key.
async fn insert(client: &ClientWrapper, events: &[Event<'_>], prove: bool) -> Result<Vec<LogSeq>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let what = "append events";
    let envelopes = || events.iter().map(|(_, event)| event.envelope());
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
    let mut params: Vec<Param<'_>> = vec![
        text(events.iter().map(|(tenant, _)| tenant.as_str())),
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
        text(events.iter().map(|(_, event)| event.payload_hash())),
        text(events.iter().map(|(_, event)| event.payload())),
    ];
    if prove {
        let mut traces: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (tenant, event) in events {
            let Envelope { trace_id, trace_seq, .. } = event.envelope();
            traces.entry((tenant.as_str(), trace_id.as_str())).or_insert(trace_seq - 1);
        }
        params.push(text(traces.keys().map(|(tenant, _)| *tenant)));
        params.push(keys(traces.keys().map(|(_, trace)| RowKey::of(trace))));
        params.push(text(traces.keys().map(|(_, trace)| *trace)));
        params.push(ints(traces.values().copied()));
    }
    let sql = if prove { sql!(SQL, "append_new") } else { sql!(SQL, "append_insert") };
    let statement = client.prepare_cached(sql).await.during(what)?;
    let rows = client.query_raw(&statement, refs(&params)).await.during(what)?;
    let rows: Vec<tokio_postgres::Row> = futures_util::TryStreamExt::try_collect(rows).await.during(what)?;
    if rows.len() != events.len() && !(prove && rows.is_empty()) {
        return Err(StoreError::internal(format!("{} of {} events were stored", rows.len(), events.len())));
    }
    Ok(rows.iter().map(|row| LogSeq(row.get(0))).collect())
}
