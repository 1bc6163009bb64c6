//! Order of the events of a file, as far as the file alone tells it.
//!
//! *Guarantees.* A file that an empty log would take as a whole has no fault here. A trace may begin in the middle: the
//! log may have its earlier events. A fault is told once: a gap is not told again at each event behind it. An event
//! with faults of its own counts as present, because it will be there once it is corrected.
//!
//! Memory is bounded: behind [`FileOrder::EVENTS_MAX`] events, order is not checked any more. [`FileOrder::checked`]
//! has the number.
//!
//! *Never here:* the log.

use crate::category::Category;
use crate::event::{Admitted, TenantId};
use crate::faults::{Fault, Faults, Reading, TracePlace};
use crate::sequence::RepeatFields;
use crate::shape::{FIRST_TYPE, LAST_TYPE};
use std::collections::{HashMap, HashSet};

/// Order of the events so far.
#[derive(Debug, Default)]
pub struct FileOrder {
    traces: HashMap<u128, Trace>,
    /// Repeat fields by tenant, producer and idempotency key.
    keys: HashMap<u128, u128>,
    ids: HashSet<u128>,
    checked: u64,
}

/// A trace, as the file has it so far.
#[derive(Debug, Clone, Copy, Default)]
struct Trace {
    /// Next number.
    next: i64,
    /// True when the next number is exactly that; false when it is at least that.
    exact: bool,
    started: bool,
    finished: bool,
}

impl FileOrder {
    /// Most events whose order is checked, about 90 MB of memory.
    pub const EVENTS_MAX: u64 = 500_000;

    /// Number of events whose order was checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// Checks the next event of the file, and adds its faults. `tenant` is that of lines that name none.
    pub fn check(&mut self, reading: &Reading, tenant: &TenantId, faults: &mut Faults) {
        let Some(place) = &reading.place else { return };
        if self.checked >= FileOrder::EVENTS_MAX {
            return;
        }
        self.checked += 1;
        let tenant = reading.tenant.as_ref().unwrap_or(tenant).as_str();
        if let Some(event) = &reading.event
            && self.is_repeat(tenant, event, faults)
        {
            return;
        }
        let trace = self.traces.entry(hash(&[tenant, &place.trace_id])).or_default();
        trace.take(place, faults);
        if let Some(event) = reading.event.as_ref().filter(|_| reading.has_id)
            && !self.ids.insert(hash(&[tenant, &event.envelope().event_id]))
        {
            let next = "give each event an id of its own, or leave event_id out";
            faults.add(|| {
                let found = "the id of an earlier event of this file".to_owned();
                fault(Category::Conflict, "event_id", found, "an id that is unique in its tenant", next)
            });
        }
    }

    /// True when an earlier event of the file is the same. Adds a fault when another event has its key.
    fn is_repeat(&mut self, tenant: &str, event: &Admitted, faults: &mut Faults) -> bool {
        let envelope = event.envelope();
        let fields = RepeatFields::of(envelope, event.payload_hash());
        let fields = hash(&fields.texts());
        let key = hash(&[tenant, &envelope.source.producer_id, &envelope.idempotency_key]);
        match self.keys.get(&key) {
            Some(earlier) if *earlier == fields => return true,
            Some(_) => faults.add(|| {
                let found = "the key of another event of this file".to_owned();
                let expected = "a key that is unique in its tenant and producer";
                let next = "use a new key for a new event; only the same event again keeps its key";
                fault(Category::IdempotencyConflict, "idempotency_key", found, expected, next)
            }),
            None => {
                self.keys.insert(key, fields);
            }
        }
        false
    }
}

impl Trace {
    /// Counts an event of the trace, and adds what is wrong with its place.
    fn take(&mut self, place: &TracePlace, faults: &mut Faults) {
        let mut wrong = |category, found: String, expected: String, next: &str| {
            faults.add(|| fault(category, "trace_seq", found, &expected, next));
        };
        if self.finished {
            let next = "start a new trace, or move the event before TraceFinished";
            let found = "an event behind the end of its trace".to_owned();
            wrong(Category::Conflict, found, "no event behind TraceFinished".to_owned(), next);
        }
        self.finished |= place.event_type == LAST_TYPE;
        if place.event_type == FIRST_TYPE {
            if self.started || self.next > 0 {
                let found = "a TraceStarted behind other events of its trace".to_owned();
                let next = "move it before the other events of its trace, once";
                wrong(Category::EventSequenceInvalid, found, "event 0 first".to_owned(), next);
            }
            *self = Trace { next: self.next.max(1), exact: true, started: true, ..*self };
            return;
        }
        // Event 0 is a TraceStarted, which the log may have.
        let due = self.next.max(1);
        let number = place.trace_seq.unwrap_or(due);
        // A number below 1 is a fault of the event itself.
        if number >= 1 && (number < due || self.exact && number > due) {
            let least = if self.exact { "" } else { " or more" };
            let expected = format!("{due}{least}, the next of this trace in this file");
            let next = "number the events of a trace without gaps, or leave trace_seq out: the log draws it";
            wrong(Category::EventSequenceInvalid, number.to_string(), expected, next);
        }
        if number >= due {
            self.exact |= place.trace_seq.is_some();
            self.next = number.saturating_add(1);
        }
    }
}

fn fault(category: Category, path: &str, found: String, expected: &str, next: &str) -> Fault {
    let (path, expected, next) = (path.to_owned(), expected.to_owned(), next.to_owned());
    Fault { category, path, found, expected, words: &[], next }
}

/// Returns a hash by which texts are told apart; no memory holds the texts of a whole file.
fn hash(texts: &[&str]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential_guard::CredentialGuard;
    use crate::faults;
    use crate::sequence::{AppendPrior, Planned, plan};
    use proptest::prelude::*;

    fn line(trace: &str, number: &str, event_type: &str, key: &str) -> String {
        let payload = match event_type {
            FIRST_TYPE => r#"{"workflow":"w","title":"t","primary_entity":{"entity_type":"a","entity_id":"b"}}"#,
            LAST_TYPE => r#"{"outcome":"success"}"#,
            _ => r#"{"action_id":"a","status":"success"}"#,
        };
        format!(
            r#"{{"event_id":"e-{key}","trace_id":"{trace}","trace_seq":{number},"event_type":"{event_type}","occurred_at":"2026-01-01T00:00:00Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"a"}},"idempotency_key":"{key}","payload":{payload}}}"#
        )
    }

    /// Returns the paths and categories of the faults of each line.
    fn checked(lines: &[String]) -> Vec<Vec<(String, Category)>> {
        let (mut order, tenant) = (FileOrder::default(), TenantId::default());
        let check = |line: &String| {
            let mut found = Faults::new(10);
            let reading = faults::read(line, CredentialGuard::default(), &mut found);
            order.check(&reading, &tenant, &mut found);
            found.shown.into_iter().map(|fault| (fault.path, fault.category)).collect()
        };
        lines.iter().map(check).collect()
    }

    const DONE: &str = "ActionCommitted";

    #[test]
    fn gaps_ends_starts_keys_and_ids_are_checked_and_a_gap_is_told_once() {
        let number = || vec![("trace_seq".to_owned(), Category::EventSequenceInvalid)];
        let finished = || vec![("trace_seq".to_owned(), Category::Conflict)];
        for (lines, faults) in [
            (vec![("0", FIRST_TYPE), ("1", DONE), ("3", DONE), ("4", DONE)], vec![vec![], vec![], number(), vec![]]),
            (vec![("7", DONE), ("8", DONE), ("8", DONE), ("9", LAST_TYPE)], vec![vec![], vec![], number(), vec![]]),
            (vec![("\"next\"", DONE), ("1", DONE), ("9", DONE)], vec![vec![], number(), vec![]]),
            (vec![("\"next\"", DONE), ("5", DONE), ("\"next\"", DONE), ("7", DONE)], vec![vec![]; 4]),
            (vec![("1", DONE), ("0", FIRST_TYPE)], vec![vec![], number()]),
            (vec![("\"next\"", LAST_TYPE), ("\"next\"", DONE)], vec![vec![], finished()]),
        ] {
            let lines: Vec<_> =
                (0..).zip(&lines).map(|(at, (seq, kind))| line("t", seq, kind, &format!("k{at}"))).collect();
            assert_eq!(checked(&lines), faults, "{lines:?}");
        }
        let first = line("t", "0", FIRST_TYPE, "k");
        let other = line("t", "1", DONE, "k").replace("e-k", "e-l");
        let same_id = line("t", "1", DONE, "l").replace("e-l", "e-k");
        assert!(checked(&[first.clone(), first.clone()]).iter().all(Vec::is_empty), "a repeat");
        let key = ("idempotency_key".to_owned(), Category::IdempotencyConflict);
        assert_eq!(checked(&[first.clone(), other]), [vec![], vec![key]]);
        assert_eq!(checked(&[first, same_id]), [vec![], vec![("event_id".to_owned(), Category::Conflict)]]);
    }

    proptest! {
        /// A file of whole traces has no fault exactly when an empty log takes all of it.
        #[test]
        fn a_file_of_whole_traces_is_judged_as_an_empty_log_judges_it(
            events in prop::collection::vec((0..2usize, 0..8usize, 0..5usize, 0..12usize), 1..10)
        ) {
            let mut seen = HashSet::new();
            let lines: Vec<String> = events.iter().enumerate().map(|(index, (trace, number, kind, key))| {
                // Each trace begins in the file.
                let kind = if seen.insert(*trace) { FIRST_TYPE } else { [DONE, DONE, DONE, LAST_TYPE, FIRST_TYPE][*kind] };
                let number = match (kind, number) {
                    (FIRST_TYPE, _) => "0".to_owned(),
                    (_, 0..5) => "\"next\"".to_owned(),
                    (_, number) => (number - 4).to_string(),
                };
                // A key of its own, or one that another line may have, too.
                let key = if *key < 9 { format!("own-{index}") } else { key.to_string() };
                line(&trace.to_string(), &number, kind, &key)
            }).collect();
            let admitted: Vec<Admitted> = lines.iter().map(|line| {
                faults::read(line, CredentialGuard::default(), &mut Faults::default()).event.expect("a sound line")
            }).collect();
            let taken = plan(&AppendPrior::default(), &admitted).iter().all(|planned| !matches!(planned, Planned::Refuse(_)));
            prop_assert_eq!(checked(&lines).iter().all(Vec::is_empty), taken, "{:?}", lines);
        }
    }
}
