//! What the log itself decides: whether an offered event is new, a legal repeat or refused ([`plan`]), and whether a
//! stored one is whole and next in its trace ([`check_page`]).

use crate::category::{Category, Refusal};
use crate::event::{Admitted, LogEvent, LogSeq};
use crate::payload_hash::{self, Checked};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What the log says of a trace before a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceState {
    /// The `trace_seq` that comes next.
    pub next_seq: i64,
    /// Whether `TraceFinished` is stored.
    pub finished: bool,
}

/// What is stored under an idempotency key: where, and the fields a repeat must equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// Position of the stored event.
    pub log_seq: LogSeq,
    /// Its id.
    pub event_id: String,
    /// See [`identity`].
    pub identity: String,
}

/// The fields that a repeat under the same idempotency key must equal, as one unambiguous text: payload hash, trace id,
/// event type, source, actor, correlation, causation, schema version, tags.
/// (`trace_seq`, `event_id` and `occurred_at` do not take part.)
pub fn identity(envelope: &crate::event::Envelope, payload_hash: &str) -> String {
    use crate::canonical_json::write_payload_string;
    let mut out = String::with_capacity(256);
    let source = &envelope.source;
    for text in [
        Some(payload_hash),
        Some(&envelope.trace_id),
        Some(&envelope.event_type),
        Some(&source.producer_id),
        Some(&source.system),
        source.subsystem.as_deref(),
        Some(&envelope.actor.actor_type),
        Some(&envelope.actor.actor_id),
        envelope.correlation_id.as_deref(),
        envelope.causation_event_id.as_deref(),
    ] {
        match text {
            Some(text) => write_payload_string(&mut out, text),
            None => out.push('-'),
        }
    }
    out.push_str(&envelope.schema_version.to_string());
    crate::event::tags_to_json(&mut out, &envelope.tags);
    out
}

/// All that a batch append needs to know of the log.
#[derive(Debug, Clone, Default)]
pub struct AppendPrior {
    /// By (producer id, idempotency key), for those of the batch that are stored.
    pub by_idempotency: HashMap<(String, String), StoredIdentity>,
    /// By trace id, for those of the batch that exist.
    pub traces: HashMap<String, TraceState>,
    /// Those event ids of the batch that are taken.
    pub event_ids: HashSet<String>,
}

/// What to do with one offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Store it.
    Store,
    /// It is stored already, here.
    Repeat {
        /// Position of the stored event.
        log_seq: LogSeq,
        /// Id of the stored event.
        event_id: String,
    },
    /// It repeats an earlier event of this very batch, by index.
    RepeatInBatch(usize),
    /// It is refused.
    Refuse(Refusal),
}

/// Decides a batch in order; an accepted event counts for those behind it, a refused one is left out.
pub fn plan(prior: &AppendPrior, events: &[Admitted]) -> Vec<Planned> {
    let mut traces = prior.traces.clone();
    let mut taken: HashMap<(&str, &str), usize> = HashMap::new();
    let mut ids: HashSet<&str> = HashSet::new();
    let mut planned = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let envelope = event.envelope();
        let key = (envelope.source.producer_id.as_str(), envelope.idempotency_key.as_str());
        let repeat_of = if let Some(earlier) = taken.get(&key) {
            let earlier_event = &events[*earlier];
            Some((identity(earlier_event.envelope(), earlier_event.payload_hash()), Planned::RepeatInBatch(*earlier)))
        } else {
            prior.by_idempotency.get(&(key.0.to_owned(), key.1.to_owned())).map(|stored| {
                (
                    stored.identity.clone(),
                    Planned::Repeat { log_seq: stored.log_seq, event_id: stored.event_id.clone() },
                )
            })
        };
        if let Some((stored, repeat)) = repeat_of {
            planned.push(if stored == identity(envelope, event.payload_hash()) {
                repeat
            } else {
                Planned::Refuse(Refusal::new(
                    Category::IdempotencyConflict,
                    "this producer stored another event under the same idempotency key; use a new key for a new event",
                ))
            });
            continue;
        }
        let state = traces.entry(envelope.trace_id.clone()).or_default();
        if let Err(refusal) = next_of_trace(envelope, *state, prior, &ids) {
            planned.push(Planned::Refuse(refusal));
            continue;
        }
        state.next_seq = state.next_seq.saturating_add(1);
        state.finished = envelope.event_type == "TraceFinished";
        ids.insert(&envelope.event_id);
        taken.insert(key, index);
        planned.push(Planned::Store);
    }
    planned
}

fn next_of_trace(
    envelope: &crate::event::Envelope,
    state: TraceState,
    prior: &AppendPrior,
    ids: &HashSet<&str>,
) -> Result<(), Refusal> {
    let sequence = |message: String| Err(Refusal::new(Category::EventSequenceInvalid, message));
    // A finished trace whose next number is offered is `conflict`; any other number is out of sequence first.
    if envelope.trace_seq != state.next_seq {
        return sequence(format!(
            "`trace_seq` is {}, the next of this trace is {}",
            envelope.trace_seq, state.next_seq
        ));
    }
    if (envelope.event_type == "TraceStarted") != (envelope.trace_seq == 0) {
        return sequence("`TraceStarted` is the event 0 of its trace, and only it is".to_owned());
    }
    if state.finished {
        return Err(Refusal::new(Category::Conflict, "the trace is finished; start a new one"));
    }
    if prior.event_ids.contains(&envelope.event_id) || ids.contains(envelope.event_id.as_str()) {
        return Err(Refusal::new(Category::Conflict, "`event_id` is taken by another event of this tenant"));
    }
    Ok(())
}

/// A stored event that cannot be projected, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Index in the page.
    pub index: usize,
    /// Why.
    pub refusal: Refusal,
}

/// A checked page as it is projected: skipped events apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sifted {
    /// What is projected, up to the poison and behind it.
    pub events: Vec<LogEvent>,
    /// Positions that are passed without effect, in order.
    pub skipped: Vec<LogSeq>,
    /// The first event that fails, by its index in `events`.
    pub poison: Option<Poison>,
}

/// Checks a page ([`check_page`]) and takes its skipped events out.
pub fn sift(events: Vec<LogEvent>, heads: &HashMap<Arc<str>, i64>, skips: &BTreeSet<LogSeq>) -> Sifted {
    let poison = check_page(&events, heads, skips);
    if skips.is_empty() {
        return Sifted { events, skipped: Vec::new(), poison };
    }
    let (skipped, kept): (Vec<_>, Vec<_>) =
        events.into_iter().enumerate().partition(|(_, event)| skips.contains(&event.log_seq));
    let place = |index: usize| kept.iter().take_while(|(before, _)| *before < index).count();
    let poison = poison.map(|poison| Poison { index: place(poison.index), ..poison });
    Sifted {
        events: kept.into_iter().map(|(_, event)| event).collect(),
        skipped: skipped.into_iter().map(|(_, event)| event.log_seq).collect(),
        poison,
    }
}

/// The replay check: each event's payload hash, and that it is the next of its trace.
///
/// `heads` gives the latest `trace_seq` of each trace of the page before the page (absent: no event yet).
/// Returns the first event that fails; everything before it is sound. An event of `skips` is not checked, whatever is wrong with it,
/// and counts as its trace's predecessor: the next event of its trace is numbered behind it.
pub fn check_page(events: &[LogEvent], heads: &HashMap<Arc<str>, i64>, skips: &BTreeSet<LogSeq>) -> Option<Poison> {
    let mut next: hashbrown::HashMap<&str, i64> = hashbrown::HashMap::new();
    for (index, event) in events.iter().enumerate() {
        if skips.contains(&event.log_seq) {
            next.insert(&event.trace_id, event.trace_seq.saturating_add(1));
            continue;
        }
        let poison = |category, message: String| Some(Poison { index, refusal: Refusal::new(category, message) });
        match payload_hash::check(&event.payload, &event.payload_hash) {
            Err(error) => return poison(Category::SchemaViolation, format!("the stored payload is {error}")),
            Ok(Checked::Differs) => {
                return poison(
                    Category::Conflict,
                    format!("the stored payload does not match its payload_hash {}", event.payload_hash),
                );
            }
            Ok(Checked::Float(path)) => {
                return poison(Category::SchemaViolation, format!("`{path}` of the stored payload is a float"));
            }
            Ok(Checked::Sound) => {}
        }
        let expected = next
            .entry(&*event.trace_id)
            .or_insert_with(|| heads.get(&event.trace_id).map_or(0, |head| head.saturating_add(1)));
        if event.trace_seq != *expected {
            return poison(
                Category::EventSequenceInvalid,
                format!("trace_seq is {}, the next of its trace is {expected}", event.trace_seq),
            );
        }
        *expected = expected.saturating_add(1);
    }
    None
}
