//! The open traces that a reader of a log keeps. With them, little of the log before a page is read twice.
//!
//! *Guarantees.* An answer is what the log would have said at the page's start. For an open trace these are its latest
//! number and its earlier events. For a trace that was surely never met ([`Absence`], from the log's origin on) the
//! answer is that it has none. Everything else is left to be asked. The kept state belongs to one position: a page that
//! starts elsewhere finds nothing kept. Memory is bounded, whatever the log holds.

use crate::absence::Absence;
use crate::event::{EventType, LogEvent, LogSeq};
use hashbrown::{DefaultHashBuilder, HashMap};
use std::collections::{BTreeSet, HashMap as Answers};
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// Most open traces that are kept.
const TRACES_MAX: usize = 20_000;
/// Most bytes of the kept traces: their events and their ids, which are as long as their producer likes.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The open traces of a reader; see the module.
pub struct OpenTraces {
    /// Position of the kept state: everything up to here is included.
    at: LogSeq,
    /// Every trace met since the log's origin; absent when the reader did not start there.
    met: Option<Absence>,
    hasher: DefaultHashBuilder,
    open: HashMap<Arc<str>, Open>,
    /// Types of the events that are kept.
    types: Vec<&'static str>,
    bytes: usize,
    traces_max: usize,
    bytes_max: usize,
}

struct Open {
    head: i64,
    /// All its events of the kept types. Absent when they had too many bytes, or when the trace was first met after its
    /// start.
    events: Option<Vec<Arc<LogEvent>>>,
}

/// State of a page's traces before the page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Latest `trace_seq` of each trace that is known to have begun.
    pub heads: Answers<Arc<str>, i64>,
    /// All earlier events of the kept types, for some of those traces.
    pub history: Answers<Arc<str>, Vec<Arc<LogEvent>>>,
    /// Traces whose head must be asked for.
    pub ask_heads: BTreeSet<Arc<str>>,
    /// Traces whose earlier events must be asked for by callers that want them. A trace neither here nor in `history`
    /// has none.
    pub ask_history: BTreeSet<Arc<str>>,
}

impl Behind {
    /// Creates the state for a reader that keeps nothing: everything must be asked.
    pub fn unknown(events: &[LogEvent]) -> Behind {
        let ask: BTreeSet<Arc<str>> = events.iter().map(|event| event.trace_id.clone()).collect();
        Behind { ask_heads: ask.clone(), ask_history: ask, ..Behind::default() }
    }

    /// Receives the answer to [`Behind::ask_heads`]. A trace that is not in it has no earlier events either.
    pub fn told(&mut self, heads: Answers<Arc<str>, i64>) {
        self.heads.extend(heads);
        let (asked, heads) = (&self.ask_heads, &self.heads);
        self.ask_history.retain(|trace| heads.contains_key(trace) || !asked.contains(trace));
    }

    /// Returns the traces that begin in the page, once the heads are known.
    fn begin(&self) -> hashbrown::HashSet<&str> {
        let unmet = self.ask_heads.iter().filter(|trace| !self.heads.contains_key(*trace));
        unmet.map(|trace| &**trace).collect()
    }
}

impl OpenTraces {
    /// Creates the store for a reader at `at` that needs earlier events of these types.
    pub fn new(at: LogSeq, types: Vec<&'static str>) -> OpenTraces {
        OpenTraces::with_room_for(at, types, TRACES_MAX, BYTES_MAX)
    }

    /// Sets smaller limits of traces and bytes.
    fn with_room_for(at: LogSeq, types: Vec<&'static str>, traces_max: usize, bytes_max: usize) -> OpenTraces {
        OpenTraces {
            at,
            met: (at == LogSeq::ORIGIN).then(Absence::default),
            hasher: DefaultHashBuilder::default(),
            open: HashMap::new(),
            types,
            bytes: 0,
            traces_max,
            bytes_max,
        }
    }

    /// Returns the known state before the page of these events, which are the next ones after `after`.
    pub fn behind(&mut self, after: LogSeq, events: &[LogEvent]) -> Behind {
        if after != self.at {
            let types = std::mem::take(&mut self.types);
            *self = OpenTraces::with_room_for(after, types, self.traces_max, self.bytes_max);
        }
        let mut behind = Behind::default();
        let mut done: hashbrown::HashSet<&str> = hashbrown::HashSet::new();
        for event in events {
            let trace = &event.trace_id;
            if !done.insert(trace) {
                continue;
            }
            if let Some(open) = self.open.get(trace) {
                behind.heads.insert(Arc::clone(trace), open.head);
                match &open.events {
                    Some(events) => {
                        behind.history.insert(Arc::clone(trace), events.clone());
                    }
                    None => {
                        behind.ask_history.insert(Arc::clone(trace));
                    }
                }
            } else if self.met.as_ref().is_none_or(|met| met.may_hold(self.hasher.hash_one(trace))) {
                behind.ask_heads.insert(Arc::clone(trace));
                behind.ask_history.insert(Arc::clone(trace));
            }
        }
        behind
    }

    /// Advances past that page. `behind` is its known state, with the answers from [`Behind::told`].
    pub fn note(&mut self, events: &[LogEvent], behind: &Behind) {
        let mut begin = behind.begin();
        for event in events {
            let trace = &event.trace_id;
            // A trace that was met before and is not kept lacks its earlier events here.
            let mut whole = begin.remove(&**trace);
            if let Some(met) = &mut self.met {
                let hash = self.hasher.hash_one(trace);
                if !met.may_hold(hash) {
                    met.add(hash);
                    whole = true;
                }
            }
            if event.known_type() == Some(EventType::TraceFinished) {
                if let Some(open) = self.open.remove(trace) {
                    self.bytes -= trace.len() + open.bytes();
                }
                continue;
            }
            if !self.open.contains_key(trace) {
                if self.open.len() >= self.traces_max || self.bytes + trace.len() > self.bytes_max {
                    continue;
                }
                self.bytes += trace.len();
                self.open.insert(Arc::clone(trace), Open { head: event.trace_seq, events: whole.then(Vec::new) });
            }
            let Some(open) = self.open.get_mut(trace) else { continue };
            open.head = event.trace_seq;
            if open.events.is_none() || !self.types.contains(&&*event.event_type) {
                continue;
            }
            if self.bytes + size(event) > self.bytes_max {
                self.bytes -= open.bytes();
                open.events = None;
            } else if let Some(events) = &mut open.events {
                self.bytes += size(event);
                events.push(Arc::new(event.clone()));
            }
        }
        self.at = events.last().map_or(self.at, |event| event.log_seq);
    }
}

impl Open {
    fn bytes(&self) -> usize {
        self.events.iter().flatten().map(|event| size(event)).sum()
    }
}

/// Estimates the bytes that an event costs to keep.
fn size(event: &LogEvent) -> usize {
    size_of::<LogEvent>() + event.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPES: [&str; 2] = ["TraceStarted", "PolicyEvaluated"];

    fn event(log_seq: i64, (trace, event_type, trace_seq): (u8, usize, i64)) -> LogEvent {
        LogEvent {
            log_seq: LogSeq(log_seq),
            event_id: format!("e{log_seq}").into(),
            trace_id: format!("t{trace}").into(),
            trace_seq,
            event_type: ["TraceStarted", "PolicyEvaluated", "InputObserved", "TraceFinished"][event_type].into(),
            occurred_at: "".into(),
            actor_type: "".into(),
            actor_id: "".into(),
            payload: "x".repeat(50).into(),
            payload_hash: "".into(),
            metadata: None,
        }
    }

    /// Reads the latest number of a trace in a log, and its events of those types.
    fn told(log: &[LogEvent], trace: &str) -> (Option<i64>, Vec<LogEvent>) {
        let of = || log.iter().filter(|event| &*event.trace_id == trace);
        let wanted = of().filter(|event| TYPES.contains(&&*event.event_type));
        (of().next_back().map(|event| event.trace_seq), wanted.cloned().collect())
    }

    proptest! {
        /// The log may hold numbers that repeat and events behind the end of their trace. It may be cut anywhere, and
        /// the reader may start or restart anywhere, with little room. Each answer that is not left to be asked is what
        /// the log says.
        #[test]
        fn an_answer_is_what_the_log_says(
            log in prop::collection::vec((0u8..12, 0usize..4, 0i64..5), 1..120),
            cuts in prop::collection::vec(1usize..20, 1..40),
            from in 0usize..3,
            again in 0usize..60,
            (traces_max, bytes_max) in (0usize..12, 0usize..4_000),
        ) {
            let log: Vec<LogEvent> = log.into_iter().zip(1..).map(|(event_, at)| event(at, event_)).collect();
            let mut at = from.min(log.len());
            let mut open = OpenTraces::with_room_for(LogSeq(at as i64), TYPES.to_vec(), traces_max, bytes_max);
            for (page, cut) in cuts.iter().enumerate() {
                if page == again {
                    at = at.saturating_sub(7);
                }
                let end = (at + cut).min(log.len());
                let events = &log[at..end];
                let mut behind = open.behind(LogSeq(at as i64), events);
                let heads = behind.ask_heads.iter();
                behind.told(heads.filter_map(|trace| Some((Arc::clone(trace), told(&log[..at], trace).0?))).collect());
                for event in events {
                    let trace = &*event.trace_id;
                    let (head, history) = told(&log[..at], trace);
                    prop_assert_eq!(behind.heads.get(trace).copied(), head, "{} before {}", trace, at);
                    prop_assert!(head.is_some() || !behind.ask_history.contains(trace), "{} begins at {}", trace, at);
                    if !behind.ask_history.contains(trace) {
                        let kept = behind.history.get(trace).into_iter().flatten();
                        prop_assert_eq!(kept.map(|event| LogEvent::clone(event)).collect::<Vec<_>>(), history);
                    }
                }
                open.note(events, &behind);
                prop_assert!(open.open.len() <= traces_max && open.bytes <= bytes_max);
                prop_assert_eq!(open.bytes, open.open.iter().map(|(trace, open)| trace.len() + open.bytes()).sum::<usize>());
                at = end;
            }
        }
    }

    #[test]
    fn ids_as_long_as_their_producer_likes_are_bounded_too() {
        let mut open = OpenTraces::with_room_for(LogSeq::ORIGIN, TYPES.to_vec(), 1_000, 10_000);
        for n in 1..100 {
            let started = LogEvent { trace_id: format!("{n}{}", "-".repeat(900)).into(), ..event(n, (0, 2, 0)) };
            let behind = open.behind(LogSeq(n - 1), std::slice::from_ref(&started));
            assert!(!behind.heads.contains_key(&started.trace_id));
            open.note(&[started], &behind);
        }
        let kept: usize = open.open.keys().map(|trace| trace.len()).sum();
        assert!((9_000..=10_000).contains(&kept), "{kept}");
    }

    /// Only traces that began before are asked for, once per page until they end.
    #[test]
    fn a_reader_who_starts_midway_keeps_what_begins_later() {
        let mut open = OpenTraces::new(LogSeq(100), TYPES.to_vec());
        let page =
            |at: i64, trace: u8, first: i64| [event(at + 1, (trace, 1, first)), event(at + 2, (trace, 1, first + 1))];
        for (at, trace, first, asked) in [(100, 1, 3, true), (102, 2, 0, true), (104, 1, 5, false), (106, 2, 2, false)]
        {
            let events = page(at, trace, first);
            let mut behind = open.behind(LogSeq(at), &events);
            assert_eq!(behind.ask_heads.len(), usize::from(asked));
            let begun = behind.ask_heads.iter().filter(|_| first > 0).map(|trace| (Arc::clone(trace), first - 1));
            behind.told(begun.collect());
            open.note(&events, &behind);
            assert_eq!(behind.ask_history.len(), usize::from(trace == 1), "at {at}");
            let kept = behind.history.values().map(Vec::len).sum::<usize>();
            assert_eq!(kept, if at == 106 { 2 } else { 0 });
        }
    }

    #[test]
    fn a_reader_from_the_origin_asks_for_nothing_of_traces_that_end() {
        let mut open = OpenTraces::new(LogSeq::ORIGIN, TYPES.to_vec());
        let mut asked = 0;
        for page in 0..500 {
            // Each trace begins in the second half of a page and ends in the first half of the next.
            let typed = |n: i64| ((n % 5) as u8, ((n / 10 + 2) % 4) as usize, n / 5);
            let mut events: Vec<LogEvent> = (0..40).map(|n| event(page * 40 + n + 1, typed(n))).collect();
            for (n, event) in (0..).zip(&mut events) {
                event.trace_id = format!("{}-{}", event.trace_id, (page * 40 + n + 20) / 40).into();
            }
            let behind = open.behind(LogSeq(page * 40), &events);
            asked += behind.ask_heads.len() + behind.ask_history.len();
            open.note(&events, &behind);
        }
        // A trace that was never met is mistaken for a known trace about once in fifty.
        assert!(asked < 500 * 10 / 10, "{asked}");
        assert!(open.open.len() < 20, "{}", open.open.len());
    }
}
