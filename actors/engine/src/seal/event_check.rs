//! One event of the log against its leaf.
//!
//! *Guarantees.* Everything that was sealed is compared, and every column that follows from it is recomputed: the
//! payload's hash, and the keys by which queries find an event.

use super::finding::{SealFinding, SealWord};
use decisiongraph_projections::RowKey;
use decisiongraph_projections::payload_hash::{self, Checked};
use decisiongraph_projections::seal::chunk::Leaf;
use decisiongraph_projections::seal::leaf::{Salt, payload_commitment};
use decisiongraph_projections::seal::texts::Erased;
use decisiongraph_protocol::foreign_text::on_a_line;
use decisiongraph_store::LoggedEvent;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most bytes of an id in a finding.
const ID_BYTES_MAX: usize = 200;
/// Salt where an erasure or a fault removed one.
const NO_SALT: Salt = [0; 16];
/// Payloads that say nothing: an event with one of them, sealed with another, was blanked.
const BLANK: [&str; 3] = ["", "{}", "null"];

/// Erasures that signed notes record, by the index of the leaf.
pub type Erasures = BTreeMap<u64, Vec<Recorded>>;

/// Erasure that a signed note records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The entry that stands.
    pub entry: [u8; 64],
    /// Part of the payload that is gone.
    pub erased: Erased,
}

/// Adds the record of an erasure, unless it is there.
pub fn record(erasures: &mut Erasures, index: u64, recorded: Recorded) {
    let of_leaf = erasures.entry(index).or_default();
    if !of_leaf.contains(&recorded) {
        of_leaf.push(recorded);
    }
}

/// Result of the comparison of an event with its leaf.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Differences, in the order in which they are looked for.
    pub findings: Vec<SealFinding>,
    /// True when the payload was erased, and a note records it.
    pub erased: bool,
}

/// Compares an event with the leaf at its position.
pub fn judge(event: &LoggedEvent, leaf: &Leaf, erasures: &Erasures) -> Judged {
    let mut judged = Judged::default();
    if leaf.salts.envelope == NO_SALT {
        judged.findings.push(salts_missing(event, leaf));
    } else if event.envelope().commitment(&leaf.salts.envelope) != leaf.entry.envelope() {
        judged.findings.push(differs(SealWord::EnvelopeDiffers, event, leaf, "its envelope is not what was sealed"));
    }
    match payload(event, leaf, erasures) {
        Payload::Sealed => judged.findings.extend(wrong_hash(event, leaf)),
        Payload::Erased => judged.erased = true,
        // Said above.
        Payload::Differs(finding) if judged.findings.iter().any(|found| found.word == finding.word) => {}
        Payload::Differs(finding) => judged.findings.push(finding),
    }
    judged.findings.extend(wrong_identity(event));
    if erasures.get(&leaf.index).is_some_and(|of_leaf| of_leaf.iter().any(|note| note.entry != leaf.entry.0)) {
        let text = "a signed note of an erasure is about another entry at this index";
        judged.findings.push(differs(SealWord::CheckpointDiffers, event, leaf, text));
    }
    judged
}

enum Payload {
    Sealed,
    Erased,
    Differs(SealFinding),
}

fn payload(event: &LoggedEvent, leaf: &Leaf, erasures: &Erasures) -> Payload {
    let (is_open, sealed) = (leaf.salts.body != NO_SALT, leaf.entry.payload());
    if is_open && payload_commitment(&event.payload, &leaf.salts.body) == sealed {
        return Payload::Sealed;
    }
    let recorded: Vec<&Recorded> =
        erasures.get(&leaf.index).into_iter().flatten().filter(|note| note.entry == leaf.entry.0).collect();
    if !recorded.is_empty() {
        // One payload may lose members more than once: the last note names them all.
        let left = recorded.iter().map(|note| remains(event, is_open, &note.erased));
        let wrong = left.reduce(|one, other| one.and(other)).flatten();
        return wrong
            .map_or(Payload::Erased, |text| Payload::Differs(differs(SealWord::PayloadDiffers, event, leaf, text)));
    }
    let is_blank = event.payload_hash.is_empty() || BLANK.contains(&event.payload.as_str());
    Payload::Differs(match (is_blank, is_open) {
        (true, _) => {
            let text = "its payload is gone, and no signed note records an erasure";
            differs(SealWord::ErasureUnrecorded, event, leaf, text)
        }
        (false, false) => salts_missing(event, leaf),
        (false, true) => differs(SealWord::PayloadDiffers, event, leaf, "its payload is not what was sealed"),
    })
}

/// Compares what is left of a payload with the note of its erasure. The commitments of the members that are left are
/// not computed: their salts went with that of the payload, and nothing keeps them yet.
fn remains(event: &LoggedEvent, is_open: bool, erased: &Erased) -> Option<&'static str> {
    if is_open {
        return Some("its erasure is recorded, and its salt is still there: what was erased can be guessed");
    }
    if !event.payload_hash.is_empty() {
        return Some("its erasure is recorded, and the hash of its payload is still there");
    }
    let is_so = match erased {
        Erased::Payload => BLANK.contains(&event.payload.as_str()),
        Erased::Members(members, count) => {
            let left: Option<BTreeMap<String, serde_json::Value>> = serde_json::from_str(&event.payload).ok();
            left.is_some_and(|left| (left.len() as u64).checked_add(members.len() as u64) == Some(*count))
        }
    };
    (!is_so).then_some("what is left of its payload is not what the note of its erasure says")
}

fn salts_missing(event: &LoggedEvent, leaf: &Leaf) -> SealFinding {
    differs(SealWord::SaltsMissing, event, leaf, "its salts are gone; it can no longer be checked")
}

fn differs(word: SealWord, event: &LoggedEvent, leaf: &Leaf, text: &str) -> SealFinding {
    let id = on_a_line(&event.event_id, ID_BYTES_MAX);
    word.because(format!("leaf {} (log_seq {}, {id}): {text}", leaf.index, event.log_seq.0))
}

/// Checks the stored hash of a payload that is as it was sealed. A text that is no JSON has none.
fn wrong_hash(event: &LoggedEvent, leaf: &Leaf) -> Option<SealFinding> {
    let is_wrong = matches!(payload_hash::check(&event.payload, &event.payload_hash), Ok(Checked::Differs));
    let text = "the sealed payload is there, its stored hash is wrong";
    is_wrong.then(|| differs(SealWord::PayloadHashDiffers, event, leaf, text))
}

/// Recomputes the columns by which queries find the event.
fn wrong_identity(event: &LoggedEvent) -> Option<SealFinding> {
    let keys = [
        (event.event_key, RowKey::of(&event.event_id), "event_key is not the hash of event_id"),
        (event.trace_key, RowKey::of(&event.trace_id), "trace_key is not the hash of trace_id"),
        (
            event.idempotency_uid,
            RowKey::of_parts(&[&event.producer_id, &event.idempotency_key]),
            "idempotency_uid is not the hash of producer_id and idempotency_key",
        ),
    ];
    let (_, _, text) = keys.into_iter().find(|(stored, key, _)| *stored != Uuid::from_bytes(key.0))?;
    Some(SealWord::IdentityDiffers.because(format!("log_seq {}: {text}", event.log_seq.0)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use decisiongraph_projections::LogSeq;
    use decisiongraph_projections::payload_hash::sha256_hex;
    use decisiongraph_projections::seal::leaf::{Entry, Salts};

    /// An event of a trace, as stored.
    pub fn event(log_seq: i64) -> LoggedEvent {
        let (event_id, payload) = (format!("lead-1/{log_seq}"), format!("{{\"n\":{log_seq}}}"));
        LoggedEvent {
            log_seq: LogSeq(log_seq),
            recorded_at_us: 1_000 * log_seq,
            tenant_id: "default".to_owned(),
            event_key: Uuid::from_bytes(RowKey::of(&event_id).0),
            trace_key: Uuid::from_bytes(RowKey::of("lead-1").0),
            idempotency_uid: Uuid::from_bytes(RowKey::of_parts(&["my-app", &event_id]).0),
            idempotency_key: event_id.clone(),
            event_id,
            trace_id: "lead-1".to_owned(),
            trace_seq: log_seq - 1,
            event_type: "TraceStarted".to_owned(),
            occurred_at: "2026-08-01T09:00:00Z".to_owned(),
            producer_id: "my-app".to_owned(),
            source_system: "crm".to_owned(),
            source_subsystem: None,
            actor_type: "agent".to_owned(),
            actor_id: "router".to_owned(),
            correlation_id: None,
            causation_event_id: Some("lead-0/0".to_owned()),
            schema_version: 1,
            tags: "[]".to_owned(),
            payload_hash: sha256_hex(payload.as_bytes()),
            payload,
        }
    }

    /// The leaf of an event, at this index.
    pub fn leaf(event: &LoggedEvent, index: u64) -> Leaf {
        let salts = Salts { envelope: [1; 16], body: [2; 16] };
        let entry = Entry::of(&event.envelope(), &event.payload, &salts);
        Leaf { index, log_seq: event.log_seq, entry, salts }
    }

    fn found(event: &LoggedEvent, leaf: &Leaf) -> Vec<String> {
        judge(event, leaf, &Erasures::default()).findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_event_as_sealed_is_well_and_every_sealed_field_is_compared() {
        let sealed = event(98);
        let leaf = leaf(&sealed, 97);
        assert_eq!(judge(&sealed, &leaf, &Erasures::default()), Judged::default());
        let line = "envelope_differs: leaf 97 (log_seq 98, lead-1/98): its envelope is not what was sealed";
        let edits: [fn(&mut LoggedEvent); 17] = [
            |it| it.recorded_at_us -= 1,
            |it| it.tenant_id.push('x'),
            |it| it.event_id.push('x'),
            |it| it.trace_id.push('x'),
            |it| it.trace_seq += 1,
            |it| it.event_type.push('x'),
            |it| it.occurred_at.push('x'),
            |it| it.producer_id.push('x'),
            |it| it.source_system.push('x'),
            |it| it.source_subsystem = Some(String::new()),
            |it| it.actor_type.push('x'),
            |it| it.actor_id.push('x'),
            |it| it.idempotency_key.push('x'),
            |it| it.correlation_id = Some(String::new()),
            |it| it.causation_event_id = None,
            |it| it.schema_version += 1,
            |it| it.tags = "[ ]".to_owned(),
        ];
        for edit in edits {
            let mut edited = sealed.clone();
            edit(&mut edited);
            let found = found(&edited, &leaf);
            let first = found.first().expect("a finding").replace(&edited.event_id, "lead-1/98");
            assert_eq!(first, line, "{found:?}");
        }
    }

    #[test]
    fn payload_hash_and_keys_have_findings_of_their_own() {
        let sealed = event(94);
        let leaf = leaf(&sealed, 93);
        let payload = r#"{"n":95}"#.to_owned();
        let edited = LoggedEvent { payload_hash: sha256_hex(payload.as_bytes()), payload, ..sealed.clone() };
        let line = "payload_differs: leaf 93 (log_seq 94, lead-1/94): its payload is not what was sealed";
        assert_eq!(found(&edited, &leaf), [line]);
        let hash = LoggedEvent { payload_hash: sha256_hex(b""), ..sealed.clone() };
        let line = "payload_hash_differs: leaf 93 (log_seq 94, lead-1/94): the sealed payload is there, its stored hash \
                    is wrong";
        assert_eq!(found(&hash, &leaf), [line]);
        let key = LoggedEvent { trace_key: Uuid::nil(), ..sealed.clone() };
        assert_eq!(found(&key, &leaf), ["identity_differs: log_seq 94: trace_key is not the hash of trace_id"]);
        let uid = LoggedEvent { idempotency_uid: Uuid::nil(), ..sealed };
        assert!(found(&uid, &leaf)[0].ends_with("is not the hash of producer_id and idempotency_key"));
    }

    #[test]
    fn an_erasure_needs_its_note_and_salts_that_are_gone_are_found() {
        let sealed = event(7);
        let whole = leaf(&sealed, 6);
        let erased = Leaf { salts: Salts { body: NO_SALT, ..whole.salts }, ..whole };
        let blank = LoggedEvent { payload: String::new(), payload_hash: String::new(), ..sealed.clone() };
        let gone = "leaf 6 (log_seq 7, lead-1/7): its payload is gone, and no signed note records an erasure";
        assert_eq!(found(&blank, &erased), [format!("erasure_unrecorded: {gone}")]);
        assert_eq!(found(&blank, &whole), [format!("erasure_unrecorded: {gone}")]);
        let noted = |entry, erased| Erasures::from([(6, vec![Recorded { entry, erased }])]);
        let whole_payload = noted(whole.entry.0, Erased::Payload);
        assert_eq!(judge(&blank, &erased, &whole_payload), Judged { findings: Vec::new(), erased: true });
        let said = |event: &LoggedEvent, leaf: &Leaf, erasures: &Erasures| -> Vec<String> {
            judge(event, leaf, erasures).findings.into_iter().map(|finding| finding.message).collect()
        };
        // A note of another entry excuses nothing, and is a finding itself.
        let other = "checkpoint_differs: leaf 6 (log_seq 7, lead-1/7): a signed note of an erasure is about another \
                     entry at this index";
        let of_another = noted([0; 64], Erased::Payload);
        let expected = [format!("erasure_unrecorded: {gone}"), other.to_owned()];
        assert_eq!(said(&blank, &erased, &of_another), expected);
        assert_eq!(said(&sealed, &whole, &of_another), [other]);
        // Neither excuses a note what it does not say.
        let differs = |text: &str| vec![format!("payload_differs: leaf 6 (log_seq 7, lead-1/7): {text}")];
        let left = "what is left of its payload is not what the note of its erasure says";
        let hashless = LoggedEvent { payload_hash: String::new(), ..sealed.clone() };
        assert_eq!(said(&hashless, &erased, &whole_payload), differs(left), "a payload that is still there");
        let hash = "its erasure is recorded, and the hash of its payload is still there";
        let hashed = LoggedEvent { payload_hash: sealed.payload_hash.clone(), ..blank.clone() };
        assert_eq!(said(&hashed, &erased, &whole_payload), differs(hash));
        let salt = "its erasure is recorded, and its salt is still there: what was erased can be guessed";
        assert_eq!(said(&blank, &whole, &whole_payload), differs(salt));
        for (text, is_so) in [(r#"{"n":7}"#, true), ("{}", false), (r#"{"n":7,"o":8}"#, false), ("[7]", false)] {
            let of_members = noted(whole.entry.0, Erased::Members(vec![1, 2], 3));
            let event = LoggedEvent { payload: text.to_owned(), ..hashless.clone() };
            assert_eq!(judge(&event, &erased, &of_members).erased, is_so, "{text}");
        }
        let none = Leaf { salts: Salts { envelope: NO_SALT, body: NO_SALT }, ..whole };
        let line = "salts_missing: leaf 6 (log_seq 7, lead-1/7): its salts are gone; it can no longer be checked";
        assert_eq!((found(&sealed, &none), found(&sealed, &erased)), (vec![line.to_owned()], vec![line.to_owned()]));
    }
}
