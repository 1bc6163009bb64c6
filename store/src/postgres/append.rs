//! Appending: pure rules decide about the offered events, then one statement stores what is new.
//!
//! ```text
//!   offers that wait ──▶ the log as if all of them continue it ──▶ one INSERT that proves it ──▶ stored
//!                                                                       │ it does not hold: nothing is drawn
//!                                                                       ▼
//!                        the log as it is: set look-ups ──▶ rules ──▶ INSERT of what is new
//!
//!   numbers to be drawn ──▶ BEGIN, a turn per trace ──▶ the log as it is (as above) ──▶ COMMIT
//! ```
//!
//! *Guarantees.* Atomic per offer: one statement stores everything that is stored. No sequence number is drawn for a
//! refused or repeated event. (True races are the exception: two producers at the same place at the same time.)
//! Look-ups use hashes; the text decides. Small offers that wait at the same time share a statement. When one of them
//! fails, each gets a statement of its own.
//!
//! Appends that draw the numbers of a trace follow one another: each takes the trace's turn, a locked row that is free
//! at the end of the transaction. Turns come first and in one order, so that no such append waits for another while it
//! holds the mark. A producer that gives numbers itself takes no turn; the unique keys decide between the two.

use super::PostgresStore;
use super::ask::Session;
use super::errors::During as _;
use super::log::SQL;
use super::pool::Connections;
use super::rows::{Param, refs};
use super::values::Key;
use crate::columns::Stored as _;
use crate::decode::Keyed;
use crate::{AppendMode, Result, StoreError, Verdict, decide};
use deadpool_postgres::Object;
use decisiongraph_projections::event::{Envelope, tags_to_json};
use decisiongraph_projections::sequence::{AppendPrior, Planned, TraceState, plan};
use decisiongraph_projections::{Admitted, Category, LogSeq, RowKey, TenantId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most attempts to plan a batch again after a lost race. Whoever draws numbers may lose to each producer that gives
/// them, in turn.
const RACES_MAX: usize = 50;
/// Turns of traces in a database. Traces share them by hash.
const TURNS: u32 = 1_024;
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
        let mut client = connections.get().await?;
        alone(&mut client, &Offer { tenant, events, mode }).await?
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
        let mut client = match connections.get().await {
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
            many => attempt(&mut client, &together).await.unwrap_or_else(|_| vec![None; many]),
        };
        for (waiting, answer) in offers.into_iter().zip(answers) {
            let answer = match answer {
                Some(verdicts) => Ok(verdicts),
                None => alone(&mut client, &waiting.offer()).await,
            };
            let _ = waiting.answer.send(answer);
        }
    }
}

/// Appends one offer.
async fn alone(client: &mut Object, offer: &Offer<'_>) -> Result<Vec<Verdict>> {
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
pub(super) struct Tenant<'a> {
    pub(super) tenant: &'a TenantId,
    /// Offers, by index.
    pub(super) offers: Vec<usize>,
    pub(super) events: Vec<&'a Admitted>,
}

/// Appends these offers together. None: an offer that has to be alone.
async fn attempt(client: &mut Object, offers: &[Offer<'_>]) -> Result<Vec<Option<Vec<Verdict>>>> {
    let mut tenants: BTreeMap<&TenantId, Tenant<'_>> = BTreeMap::new();
    for (index, offer) in offers.iter().enumerate() {
        let none = || Tenant { tenant: offer.tenant, offers: Vec::new(), events: Vec::new() };
        let tenant = tenants.entry(offer.tenant).or_insert_with(none);
        tenant.offers.push(index);
        tenant.events.extend(offer.events);
    }
    let tenants: Vec<Tenant<'_>> = tenants.into_values().collect();
    let turns = turns(&tenants);
    if !turns.is_empty() {
        let what = "append events whose numbers are drawn";
        let work = client.transaction().await.during(what)?;
        let take = work.prepared(sql!(SQL, "append_turns")).await.during(what)?;
        work.execute(&take, &[&turns]).await.during(what)?;
        let answers = decided(&work, offers, &tenants).await?;
        work.commit().await.during(what)?;
        return Ok(answers);
    }
    let new = |planned: &[Planned]| planned.iter().all(|planned| matches!(planned, Planned::Store { .. }));
    let assumed: Vec<Vec<Planned>> =
        tenants.iter().map(|it| plan(&AppendPrior::assumed(&it.events), &it.events)).collect();
    if assumed.iter().all(|planned| new(planned)) {
        let events = new_events(offers, &tenants, &assumed);
        let positions = insert(client, &events, true).await?;
        if positions.len() == events.len() {
            return Ok(answers(offers, &tenants, assumed, positions));
        }
    }
    decided(client, offers, &tenants).await
}

/// Lists the turns of the traces whose numbers are to be drawn, in the order in which every process takes them.
fn turns(tenants: &[Tenant<'_>]) -> Vec<i32> {
    let events = tenants.iter().flat_map(|of| of.events.iter().map(|event| (of.tenant, *event)));
    let turn = |(tenant, event): (&TenantId, &Admitted)| {
        let [a, b, c, d, ..] = RowKey::of_parts(&[tenant.as_str(), &event.envelope().trace_id]).0;
        (u32::from_be_bytes([a, b, c, d]) % TURNS).cast_signed()
    };
    let turns: BTreeSet<i32> = events.filter(|(_, event)| event.is_next()).map(turn).collect();
    turns.into_iter().collect()
}

/// Decides about these offers by the log as it is, and stores what is new.
async fn decided(
    client: &impl Session,
    offers: &[Offer<'_>],
    tenants: &[Tenant<'_>],
) -> Result<Vec<Option<Vec<Verdict>>>> {
    let prior = load_prior(client, tenants).await?;
    let planned: Vec<Vec<Planned>> =
        tenants.iter().zip(&prior).map(|(tenant, prior)| plan(prior, &tenant.events)).collect();
    // An offer that is stored whole or not at all, and is not, was counted on by the offers behind it.
    let torn = |(tenant, planned): (&Tenant<'_>, &Vec<Planned>)| {
        tenant.offers.len() > 1
            && tenant.offers.iter().any(|offer| offers[*offer].mode == AppendMode::AllOrNothing)
            && planned.iter().any(|planned| matches!(planned, Planned::Refuse(_)))
    };
    if tenants.iter().zip(&planned).any(torn) {
        return Ok(vec![None; offers.len()]);
    }
    let positions = insert(client, &new_events(offers, tenants, &planned), false).await?;
    Ok(answers(offers, tenants, planned, positions))
}

/// An event to store, with its number in its trace.
pub(super) struct New<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) event: &'a Admitted,
    pub(super) trace_seq: i64,
}

/// Lists the new events of these tenants, in their order.
fn new_events<'a>(offers: &[Offer<'_>], tenants: &[Tenant<'a>], planned: &[Vec<Planned>]) -> Vec<New<'a>> {
    let mut events = Vec::new();
    for (of, planned) in tenants.iter().zip(planned) {
        let new = decide::stored(planned, mode_of(offers, of)).into_iter();
        events.extend(new.map(|(index, trace_seq)| New { tenant: of.tenant, event: of.events[index], trace_seq }));
    }
    events
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
pub(super) async fn load_prior(client: &impl Session, tenants: &[Tenant<'_>]) -> Result<Vec<AppendPrior>> {
    let what = "look up what is stored";
    let by_idempotency = client.prepared(sql!(SQL, "append_idempotency")).await.during(what)?;
    let by_trace = client.prepared(sql!(SQL, "append_trace")).await.during(what)?;
    let by_event = client.prepared(sql!(SQL, "append_event_id")).await.during(what)?;

    fn of<'a>(it: &'a Tenant<'_>) -> impl Iterator<Item = (&'a str, &'a Envelope)> {
        it.events.iter().map(|event| (it.tenant.as_str(), event.envelope()))
    }
    let envelopes = || tenants.iter().flat_map(of);
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
    let client = client.connection();
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
        prior.entry(row.get(16)).or_default().by_idempotency.insert(key, identity);
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
async fn insert(client: &impl Session, events: &[New<'_>], prove: bool) -> Result<Vec<LogSeq>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let what = "append events";
    let mut params = values(events);
    if prove {
        let mut traces: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for New { tenant, event, trace_seq } in events {
            let trace = (tenant.as_str(), event.envelope().trace_id.as_str());
            traces.entry(trace).or_insert(trace_seq - 1);
        }
        params.push(text(traces.keys().map(|(tenant, _)| *tenant)));
        params.push(keys(traces.keys().map(|(_, trace)| RowKey::of(trace))));
        params.push(text(traces.keys().map(|(_, trace)| *trace)));
        params.push(ints(traces.values().copied()));
    }
    let sql = if prove { sql!(SQL, "append_new") } else { sql!(SQL, "append_insert") };
    let statement = client.prepared(sql).await.during(what)?;
    let rows = client.connection().query_raw(&statement, refs(&params)).await.during(what)?;
    let rows: Vec<tokio_postgres::Row> = futures_util::TryStreamExt::try_collect(rows).await.during(what)?;
    if rows.len() != events.len() && !(prove && rows.is_empty()) {
        return Err(StoreError::internal(format!("{} of {} events were stored", rows.len(), events.len())));
    }
    Ok(rows.iter().map(|row| LogSeq(row.get(0))).collect())
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> Param<'a> {
    Box::new(values.collect::<Vec<_>>())
}

fn optional<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Param<'a> {
    Box::new(values.collect::<Vec<_>>())
}

pub(super) fn ints<'a>(values: impl Iterator<Item = i64>) -> Param<'a> {
    Box::new(values.collect::<Vec<_>>())
}

fn keys<'a>(values: impl Iterator<Item = RowKey>) -> Param<'a> {
    Box::new(values.map(Key::from).collect::<Vec<_>>())
}

/// Returns the lists of `insert_values`.
pub(super) fn values<'a>(events: &'a [New<'_>]) -> Vec<Param<'a>> {
    let envelopes = || events.iter().map(|new| new.event.envelope());
    let tags: Vec<String> = envelopes()
        .map(|envelope| {
            let mut json = String::new();
            tags_to_json(&mut json, &envelope.tags);
            json
        })
        .collect();
    vec![
        text(events.iter().map(|new| new.tenant.as_str())),
        ints(events.iter().map(|new| new.trace_seq)),
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
        Box::new(tags),
        text(events.iter().map(|new| new.event.payload_hash())),
        text(events.iter().map(|new| new.event.payload())),
    ]
}
