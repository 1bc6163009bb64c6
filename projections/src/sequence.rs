//! Decisions from the log itself. An offered event is new, a legal repeat or refused ([`plan`]). A stored event must be
//! whole and next in its trace ([`check_page`]).

use crate::category::{Category, Details, Refusal};
use crate::event::{Admitted, Envelope, LogEvent, LogSeq};
use crate::payload_hash::{self, Checked};
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Last possible number of a trace. It is one less than the maximum of 64 bits, so that the next number can be named.
/// The schema knows it too.
pub const TRACE_SEQ_MAX: i64 = i64::MAX - 1;

/// State of a trace in the log before a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceState {
    /// Next `trace_seq`; none when [`TRACE_SEQ_MAX`] is stored.
    pub next_seq: Option<i64>,
    /// True when `TraceFinished` is stored.
    pub finished: bool,
}

impl TraceState {
    /// Returns the state behind the event with this `trace_seq`.
    pub const fn behind(trace_seq: i64, finished: bool) -> TraceState {
        let next_seq = if trace_seq < TRACE_SEQ_MAX { Some(trace_seq + 1) } else { None };
        TraceState { next_seq, finished }
    }
}

impl AppendPrior {
    /// Returns the state of a log in which all of these events are next: their traces are where they continue them, and
    /// neither keys nor ids are taken. To be proved before anything is stored.
    pub fn assumed<E: Borrow<Admitted>>(events: &[E]) -> AppendPrior {
        let mut prior = AppendPrior::default();
        for event in events {
            let Envelope { trace_id, trace_seq, .. } = Borrow::<Admitted>::borrow(event).envelope();
            if !prior.traces.contains_key(trace_id) {
                let next_seq = Some(*trace_seq).filter(|next| (0..=TRACE_SEQ_MAX).contains(next));
                let state = TraceState { next_seq, finished: false };
                prior.traces.insert(trace_id.clone(), state);
            }
        }
        prior
    }
}

impl Default for TraceState {
    /// Returns the state without any event.
    fn default() -> TraceState {
        TraceState { next_seq: Some(0), finished: false }
    }
}

/// A stored event under an idempotency key: its place, and the fields that a repeat must equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// Position of the stored event.
    pub log_seq: LogSeq,
    /// Id of the event.
    pub event_id: String,
    /// Number of the event in its trace.
    pub trace_seq: i64,
    /// Fields that a repeat must equal.
    pub fields: RepeatFields,
}

/// Fields that a repeat under the same idempotency key must equal. What a server may draw (`trace_seq`, `event_id`)
/// does not take part, and neither does `occurred_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatFields([String; RepeatFields::NAMES.len()]);

impl RepeatFields {
    const NAMES: [&str; 9] = [
        "payload",
        "trace_id",
        "event_type",
        "source",
        "actor",
        "correlation_id",
        "causation_event_id",
        "schema_version",
        "tags",
    ];

    /// Takes the fields of an event. Each is one unambiguous text.
    pub fn of(envelope: &Envelope, payload_hash: &str) -> RepeatFields {
        fn joined(texts: &[Option<&str>]) -> String {
            let mut out = String::new();
            for text in texts {
                match text {
                    Some(text) => crate::canonical_json::write_payload_string(&mut out, text),
                    None => out.push('-'),
                }
            }
            out
        }
        let Envelope { source, actor, .. } = envelope;
        let mut tags = String::new();
        crate::event::tags_to_json(&mut tags, &envelope.tags);
        RepeatFields([
            payload_hash.to_owned(),
            envelope.trace_id.clone(),
            envelope.event_type.clone(),
            joined(&[Some(&source.producer_id), Some(&source.system), source.subsystem.as_deref()]),
            joined(&[Some(&actor.actor_type), Some(&actor.actor_id)]),
            joined(&[envelope.correlation_id.as_deref()]),
            joined(&[envelope.causation_event_id.as_deref()]),
            envelope.schema_version.to_string(),
            tags,
        ])
    }

    /// Lists the texts that tell two events apart.
    pub(crate) fn texts(&self) -> [&str; RepeatFields::NAMES.len()] {
        self.0.each_ref().map(String::as_str)
    }

    /// Names the fields that differ.
    fn differences(&self, other: &RepeatFields) -> Vec<String> {
        let fields = self.0.iter().zip(&other.0).zip(Self::NAMES);
        fields.filter(|((mine, other), _)| mine != other).map(|(_, name)| name.to_owned()).collect()
    }
}

/// State of the log that a batch append needs.
#[derive(Debug, Clone, Default)]
pub struct AppendPrior {
    /// Stored events under idempotency keys of the batch, by (producer id, idempotency key).
    pub by_idempotency: HashMap<(String, String), StoredIdentity>,
    /// States of the batch's existing traces, by trace id.
    pub traces: HashMap<String, TraceState>,
    /// Event ids of the batch that are taken.
    pub event_ids: HashSet<String>,
}

/// Decision about one offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Store it.
    Store {
        /// Number of the event in its trace, given or drawn.
        trace_seq: i64,
    },
    /// It is already stored here.
    Repeat {
        /// Position of the stored event.
        log_seq: LogSeq,
        /// Id of the stored event.
        event_id: String,
        /// Number of the stored event.
        trace_seq: i64,
    },
    /// It repeats an earlier event of this very batch, by index.
    RepeatInBatch(usize),
    /// It is refused.
    Refuse(Refusal),
}

/// Decides a batch in order. An accepted event counts for the events behind it; a refused event is left out. An event
/// whose number is to be drawn gets the one that is due.
pub fn plan<E: Borrow<Admitted>>(prior: &AppendPrior, events: &[E]) -> Vec<Planned> {
    let mut traces = prior.traces.clone();
    let mut taken: HashMap<(&str, &str), usize> = HashMap::new();
    let mut ids: HashSet<&str> = HashSet::new();
    let mut planned = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let event: &Admitted = event.borrow();
        let envelope = event.envelope();
        let key = (envelope.source.producer_id.as_str(), envelope.idempotency_key.as_str());
        let repeat_of = if let Some(earlier) = taken.get(&key) {
            let earlier_event: &Admitted = events[*earlier].borrow();
            let fields = RepeatFields::of(earlier_event.envelope(), earlier_event.payload_hash());
            Some((fields, Planned::RepeatInBatch(*earlier)))
        } else {
            prior.by_idempotency.get(&(key.0.to_owned(), key.1.to_owned())).map(|stored| {
                let StoredIdentity { log_seq, event_id, trace_seq, fields } = stored.clone();
                (fields, Planned::Repeat { log_seq, event_id, trace_seq })
            })
        };
        if let Some((stored, repeat)) = repeat_of {
            let mismatches = stored.differences(&RepeatFields::of(envelope, event.payload_hash()));
            planned.push(if mismatches.is_empty() {
                repeat
            } else {
                let refusal = Refusal::new(
                    Category::IdempotencyConflict,
                    "this producer stored another event under the same idempotency key; use a new key for a new event",
                );
                Planned::Refuse(refusal.with(Details { mismatches, ..Details::default() }))
            });
            continue;
        }
        let state = traces.entry(envelope.trace_id.clone()).or_default();
        match number(event, *state, prior, &ids) {
            Err(refusal) => planned.push(Planned::Refuse(refusal)),
            Ok(trace_seq) => {
                *state = TraceState::behind(trace_seq, envelope.event_type == "TraceFinished");
                ids.insert(&envelope.event_id);
                taken.insert(key, index);
                planned.push(Planned::Store { trace_seq });
            }
        }
    }
    planned
}

/// Returns the number of a new event in its trace, given or drawn.
fn number(event: &Admitted, state: TraceState, prior: &AppendPrior, ids: &HashSet<&str>) -> Result<i64, Refusal> {
    let envelope = event.envelope();
    let sequence = |message: String| {
        let details = Details { expected_trace_seq: state.next_seq, ..Details::default() };
        Err(Refusal::new(Category::EventSequenceInvalid, message).with(details))
    };
    let finished = || Err(Refusal::new(Category::Conflict, "the trace is finished; start a new one"));
    // The next number of a finished trace is `conflict`. Any other number is first of all out of sequence.
    let Some(next_seq) = state.next_seq else {
        return sequence(format!("this trace already has its last possible event, {TRACE_SEQ_MAX}; start a new trace"));
    };
    if event.is_next() && state.finished {
        return finished();
    }
    if !event.is_next() && envelope.trace_seq != next_seq {
        return sequence(format!("`trace_seq` is {}, but the next in this trace is {next_seq}", envelope.trace_seq));
    }
    if (envelope.event_type == "TraceStarted") != (next_seq == 0) {
        return sequence("`TraceStarted` must be event 0 of its trace, and no other event may be".to_owned());
    }
    if state.finished {
        return finished();
    }
    if prior.event_ids.contains(&envelope.event_id) || ids.contains(envelope.event_id.as_str()) {
        return Err(Refusal::new(Category::Conflict, "`event_id` is already used by another event of this tenant"));
    }
    Ok(next_seq)
}

/// A stored event that cannot be projected, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Index in the page.
    pub index: usize,
    /// Reason of the refusal.
    pub refusal: Refusal,
}

/// A checked page, ready for projection, with its skipped events taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sifted {
    /// Events to project, up to the poison and behind it.
    pub events: Vec<LogEvent>,
    /// Skipped positions, in order; they have no effect.
    pub skipped: Vec<LogSeq>,
    /// First event that fails, by its index in `events`.
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

/// Checks each event of a replay: its payload hash, and that it is the next of its trace.
///
/// `heads` gives the latest `trace_seq` of each of the page's traces before the page (absent: no event yet). Returns
/// the first event that fails; everything before it is sound. An event of `skips` is not checked, whatever is wrong
/// with it. It counts as its trace's predecessor: the next event of its trace is numbered behind it.
pub fn check_page(events: &[LogEvent], heads: &HashMap<Arc<str>, i64>, skips: &BTreeSet<LogSeq>) -> Option<Poison> {
    let mut next: hashbrown::HashMap<&str, Option<i64>> = hashbrown::HashMap::new();
    for (index, event) in events.iter().enumerate() {
        if skips.contains(&event.log_seq) {
            next.insert(&event.trace_id, event.trace_seq.checked_add(1));
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
            .or_insert_with(|| heads.get(&event.trace_id).map_or(Some(0), |h| h.checked_add(1)));
        if *expected != Some(event.trace_seq) {
            return poison(
                Category::EventSequenceInvalid,
                match expected {
                    Some(expected) => {
                        format!("trace_seq is {}, but the next in its trace is {expected}", event.trace_seq)
                    }
                    None => format!("trace_seq is {}, beyond the last possible one of its trace", event.trace_seq),
                },
            );
        }
        *expected = event.trace_seq.checked_add(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(log_seq: i64, trace_seq: i64) -> LogEvent {
        let payload = r#"{"outcome":"success"}"#;
        LogEvent {
            log_seq: LogSeq(log_seq),
            event_id: log_seq.to_string().into(),
            trace_id: "t".into(),
            trace_seq,
            event_type: "TraceFinished".into(),
            occurred_at: "2026-01-01T00:00:00Z".into(),
            actor_type: "agent".into(),
            actor_id: "a".into(),
            payload: payload.into(),
            payload_hash: payload_hash::sha256_hex(payload.as_bytes()).into(),
            metadata: None,
        }
    }

    #[test]
    fn behind_the_last_possible_number_of_a_trace_every_event_is_poison() {
        let page = [numbered(1, i64::MAX), numbered(2, i64::MIN)];
        let before = HashMap::from([(Arc::from("t"), i64::MAX - 1)]);
        let at_its_end = HashMap::from([(Arc::from("t"), i64::MAX)]);
        for (heads, skips, index) in [
            (&before, BTreeSet::new(), 1),
            (&at_its_end, BTreeSet::new(), 0),
            (&before, BTreeSet::from([LogSeq(1)]), 1),
        ] {
            let poison = check_page(&page, heads, &skips).expect("poison");
            assert_eq!((poison.index, poison.refusal.category), (index, Category::EventSequenceInvalid));
            assert!(poison.refusal.message.contains("beyond the last possible one"), "{}", poison.refusal);
        }
        for last in [TRACE_SEQ_MAX, i64::MAX] {
            assert_eq!(TraceState::behind(last, false).next_seq, None);
        }
        assert_eq!(TraceState::behind(TRACE_SEQ_MAX - 1, false).next_seq, Some(TRACE_SEQ_MAX));
    }
}
