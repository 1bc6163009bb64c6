//! Every fault of an offered event, for the producer that corrects it. An append tells the first one.
//!
//! *Guarantees.* A line has no fault exactly when [`Line::parse`] and [`Line::admit`] take it, and its number can be
//! that of an event of its type. No value is quoted: a fault tells its kind and its size. Faults beyond a limit are
//! counted and not written.
//!
//! *Never here:* what the log alone knows; what the lines before it say ([`crate::file_order`]).

use crate::canonical_json::{DEPTH_MAX, Json, JsonError};
use crate::category::{Category, Refusal};
use crate::credential_guard::CredentialGuard;
use crate::event::{Admitted, EVENT_BYTES_MAX, ID_BYTES_MAX, Line, TenantId};
use crate::json_reader::parse;
use crate::payload_hash::sha256_hex;
use crate::place::{Way, shown_key};
use crate::rfc3339;
use crate::sequence::TRACE_SEQ_MAX;
use crate::shape::{self, ENVELOPE, FIRST_TYPE, Form, INSTEAD_OF_A_FLOAT, Member, Presence, Shape};
use serde::Serialize;

/// Members of the envelope in which credentials are searched.
const GUARDED: [&str; 6] = ["tags", "actor", "source", "correlation_id", "causation_event_id", "idempotency_key"];
/// Longest word, in bytes, for which a nearest one is looked up.
const WORD_BYTES_MAX: usize = 64;
/// Most members of an object among which a mistyped one is looked up.
const MEMBERS_MAX: usize = 64;

/// A fault of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Category of the refusal.
    pub category: Category,
    /// Path of the member; empty for the line as a whole.
    pub path: String,
    /// Kind of what was found.
    pub found: String,
    /// Form that is needed.
    pub expected: String,
    /// Words of which it must be one.
    #[serde(skip_serializing_if = "no_words")]
    pub words: &'static [&'static str],
    /// Next step of the producer.
    pub next: String,
}

fn no_words(words: &[&str]) -> bool {
    words.is_empty()
}

/// Faults as they are found: the first ones, and the number of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first faults.
    pub shown: Vec<Fault>,
    /// Number of all faults.
    pub count: u64,
    shown_max: usize,
}

impl Faults {
    /// Creates a list that keeps this many faults.
    pub fn new(shown_max: usize) -> Faults {
        Faults { shown_max, ..Faults::default() }
    }

    /// Adds a fault. It is made only when it is kept.
    pub fn add(&mut self, make: impl FnOnce() -> Fault) {
        self.count += 1;
        if self.shown.len() < self.shown_max {
            self.shown.push(make());
        }
    }
}

/// A line, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The event, when it has no fault.
    pub event: Option<Admitted>,
    /// True when the line gives the event's id.
    pub has_id: bool,
    /// Tenant that the line names.
    pub tenant: Option<TenantId>,
    /// Place of the event in its trace, when the members that tell it can be read.
    pub place: Option<TracePlace>,
}

/// Place of an event in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracePlace {
    /// Trace of the event.
    pub trace_id: String,
    /// Type of the event.
    pub event_type: String,
    /// Number of the event; none when it is drawn.
    pub trace_seq: Option<i64>,
}

/// Reads a line as an append does, and adds each of its faults.
pub fn read(text: &str, guard: CredentialGuard, faults: &mut Faults) -> Reading {
    let before = faults.count;
    let value = match parse(text) {
        Ok(parsed) => parsed.value,
        Err(error) => {
            faults.add(|| unreadable(&error));
            return Reading::default();
        }
    };
    let mut search = Search { guard, faults: &mut *faults };
    if !matches!(value, Json::Object(_)) {
        search.wrong(&Way::Start(""), &value, "a JSON object: an event");
        return Reading::default();
    }
    search.members(&value, ENVELOPE, None);
    let event_type = value.get("event_type").and_then(Json::as_str);
    let trace_seq = number(&value);
    if let Some(payload) = value.get("payload") {
        search.payload(payload, event_type.and_then(shape::of), value.get("payload_hash"));
    }
    search.credentials(&value);
    if let (Some(event_type), Some(Some(trace_seq))) = (event_type, trace_seq) {
        search.first_number(event_type, trace_seq);
    }
    let place = match (value.get("trace_id").and_then(Json::as_str), event_type, trace_seq) {
        (Some(trace_id), Some(event_type), Some(trace_seq)) => {
            Some(TracePlace { trace_id: trace_id.to_owned(), event_type: event_type.to_owned(), trace_seq })
        }
        _ => None,
    };
    let mut reading = Reading { has_id: value.get("event_id").is_some(), place, ..Reading::default() };
    if faults.count > before {
        return reading;
    }
    match admitted(value, guard) {
        Ok((tenant, event)) => (reading.tenant, reading.event) = (tenant, Some(event)),
        // Nothing leads here while both read alike; if they ever differ, the append is right.
        Err(refusal) => faults.add(|| of_refusal(refusal)),
    }
    reading
}

fn admitted(value: Json<'_>, guard: CredentialGuard) -> Result<(Option<TenantId>, Admitted), Refusal> {
    let line = Line::from_json(value)?;
    let tenant = line.tenant_id.clone();
    Ok((tenant, line.admit(guard, || "drawn by the log".to_owned())?))
}

/// Returns the number that the line gives: `Some(None)` when it is drawn, none when it cannot be read.
fn number(event: &Json<'_>) -> Option<Option<i64>> {
    match event.get("trace_seq") {
        None => Some(None),
        Some(Json::Str(word)) if word == "next" => Some(None),
        Some(Json::Int(digits)) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

/// Makes the fault of a line that is longer than an event may be.
pub fn too_long() -> Fault {
    let expected = format!("at most {EVENT_BYTES_MAX} bytes");
    let next = "keep large texts elsewhere, and record where they are";
    fault(Category::InvalidArgument, String::new(), "a longer line".to_owned(), &expected, next)
}

/// Makes the fault of a line that is not UTF-8 from this byte on; the first byte is 1.
pub fn not_utf8(byte: u64) -> Fault {
    let found = format!("byte {byte} is not UTF-8");
    fault(Category::InvalidArgument, String::new(), found, "text in UTF-8", "convert the file, for example with iconv")
}

fn unreadable(error: &JsonError) -> Fault {
    let levels = format!("at most {DEPTH_MAX} levels of lists and objects");
    let (expected, next) = match error {
        JsonError::Syntax { .. } => {
            ("one JSON object on the line", "correct the JSON there; members are checked in correct JSON only")
        }
        JsonError::TooDeep { .. } => (levels.as_str(), "write the inner levels as a string"),
        JsonError::LoneSurrogate { .. } => {
            ("both halves of the character", "write the character itself, as UTF-8, or both escapes")
        }
        JsonError::Nul { .. } => ("strings without U+0000", "leave the character out: no database text can hold it"),
    };
    fault(error.on_append().category, String::new(), error.to_string(), expected, next)
}

fn of_refusal(refusal: Refusal) -> Fault {
    fault(refusal.category, String::new(), refusal.message, "an event that an append takes", "correct the event")
}

fn fault(category: Category, path: String, found: String, expected: &str, next: &str) -> Fault {
    Fault { category, path, found, expected: expected.to_owned(), words: &[], next: next.to_owned() }
}

/// Walk through the members of one line.
struct Search<'f> {
    guard: CredentialGuard,
    faults: &'f mut Faults,
}

impl Search<'_> {
    fn add(&mut self, category: Category, way: &Way<'_>, found: impl FnOnce() -> String, expected: &str, next: &str) {
        self.faults.add(|| fault(category, way.path(), found(), expected, next));
    }

    /// Adds that a value is of another kind than it should be.
    fn wrong(&mut self, way: &Way<'_>, found: &Json<'_>, expected: &str) {
        let found = || found.kind().to_owned();
        self.add(Category::SchemaViolation, way, found, expected, "write it in this form");
    }

    /// Checks the listed members of an object. `outer` leads to it; the envelope has none.
    fn members(&mut self, object: &Json<'_>, members: &'static [Member], outer: Option<&Way<'_>>) {
        for member in members {
            let way = match outer {
                None => Way::Start(member.name),
                Some(outer) => Way::Member(outer, member.name),
            };
            match object.get(member.name) {
                None if member.presence == Presence::Needed => self.missing(object, members, member, &way),
                None => {}
                Some(Json::Null) if member.presence == Presence::Nullable => {}
                Some(value) => self.value(value, member.form, &way),
            }
        }
    }

    fn missing(&mut self, object: &Json<'_>, members: &[Member], member: &Member, way: &Way<'_>) {
        self.faults.add(|| {
            let (expected, words) = expected(member.form);
            let next = match mistyped(object, members, member.name) {
                Some(key) => format!("rename `{}` to `{}`", shown_key(key), member.name),
                None => format!("add it: {}", member.about),
            };
            Fault { words, ..fault(Category::SchemaViolation, way.path(), "nothing".to_owned(), &expected, &next) }
        });
    }

    fn value(&mut self, value: &Json<'_>, form: Form, way: &Way<'_>) {
        let fits = match (form, value) {
            (Form::Filled(_), Json::Str(text)) if text.is_empty() => {
                return self.text(Category::SchemaViolation, text, form, way);
            }
            (Form::Key(bytes_max), Json::Str(text)) => {
                if text.is_empty() || text.len() > bytes_max {
                    self.text(Category::InvalidArgument, text, form, way);
                }
                true
            }
            (Form::Filled(bytes_max) | Form::Text(bytes_max), Json::Str(text)) => {
                if text.len() > bytes_max {
                    self.text(Category::InvalidArgument, text, form, way);
                }
                true
            }
            (Form::Time, Json::Str(text)) if text.len() > ID_BYTES_MAX => {
                return self.text(Category::InvalidArgument, text, form, way);
            }
            (Form::Time, Json::Str(text)) => {
                if !rfc3339::is_time(text) {
                    self.text(Category::SchemaViolation, text, form, way);
                }
                true
            }
            (Form::Word(words), Json::Str(word)) => {
                if !words.contains(&&**word) {
                    self.word(word, words, way);
                }
                true
            }
            (Form::Number, Json::Str(word)) => word == "next",
            (Form::Number | Form::Integer, Json::Int(digits)) => digits.parse::<i64>().is_ok(),
            (Form::Count, Json::Int(digits)) => !digits.starts_with('-') && **digits != *"0",
            (Form::Hash, Json::Str(_)) | (Form::List, Json::Array(_)) | (Form::Ignored, _) => true,
            (Form::Tags, Json::Array(items)) => {
                for (index, item) in items.iter().enumerate().filter(|(_, item)| item.as_str().is_none()) {
                    self.wrong(&Way::Item(way, index), item, "a string");
                }
                true
            }
            (Form::Object(members), Json::Object(_)) => {
                self.members(value, members, Some(way));
                true
            }
            _ => false,
        };
        if !fits {
            let (expected, words) = expected(form);
            self.faults.add(|| {
                let next = "write it in this form";
                let found = value.kind().to_owned();
                Fault { words, ..fault(Category::SchemaViolation, way.path(), found, &expected, next) }
            });
        }
    }

    fn text(&mut self, category: Category, text: &str, form: Form, way: &Way<'_>) {
        let found = || match text.len() {
            0 => "an empty string".to_owned(),
            bytes => format!("a string of {bytes} bytes"),
        };
        let next = match (form, text.len()) {
            (Form::Time, _) => "write date, time and zone, such as 2026-01-31T09:30:00Z, of a day that exists",
            (_, 0) => "fill it",
            _ => "use a shorter one",
        };
        self.add(category, way, found, &expected(form).0, next);
    }

    fn word(&mut self, word: &str, words: &'static [&'static str], way: &Way<'_>) {
        self.faults.add(|| {
            let next = match nearest(word, words) {
                Some(nearest) => format!("write one of these words; the nearest is `{nearest}`"),
                None => "write one of these words".to_owned(),
            };
            let (found, expected) = (format!("a string of {} bytes", word.len()), expected(Form::Word(words)).0);
            Fault { words, ..fault(Category::SchemaViolation, way.path(), found, &expected, &next) }
        });
    }

    /// Checks a payload: its members by the shape of its type, each value in it, and the hash that is given for it.
    fn payload(&mut self, payload: &Json<'_>, shape: Option<&'static Shape>, hash: Option<&Json<'_>>) {
        let way = Way::Start("payload");
        if let (Some(shape), Json::Object(_)) = (shape, payload) {
            self.members(payload, shape.payload, Some(&way));
        }
        self.inside(payload, &way);
        let Some(Json::Str(given)) = hash else { return };
        if payload.first_float("payload").is_some() {
            return;
        }
        let due = sha256_hex(payload.to_payload_form().as_bytes());
        if *given != due {
            let next = "leave it out, or write the hash of the payload as it is now";
            let found = || "the hash of another payload".to_owned();
            self.add(Category::Conflict, &Way::Start("payload_hash"), found, &due, next);
        }
    }

    /// Checks the values of a payload at every depth.
    fn inside(&mut self, value: &Json<'_>, way: &Way<'_>) {
        match value {
            Json::Float(_) => {
                let expected = "integers and strings: a payload has no floats";
                self.add(Category::SchemaViolation, way, || "a float".to_owned(), expected, INSTEAD_OF_A_FLOAT);
            }
            Json::Str(text) => self.credential(text, way),
            Json::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.inside(item, &Way::Item(way, index)));
            }
            Json::Object(members) => {
                members.iter().for_each(|(key, value)| self.inside(value, &Way::Member(way, key)));
            }
            Json::Null | Json::Bool(_) | Json::Int(_) => {}
        }
    }

    /// Searches the envelope for credentials.
    fn credentials(&mut self, envelope: &Json<'_>) {
        for member in ENVELOPE.iter().filter(|member| GUARDED.contains(&member.name)) {
            let way = Way::Start(member.name);
            match (member.form, envelope.get(member.name)) {
                (Form::Object(members), Some(object)) => {
                    for member in members {
                        if let Some(Json::Str(text)) = object.get(member.name) {
                            self.credential(text, &Way::Member(&way, member.name));
                        }
                    }
                }
                (_, Some(Json::Array(items))) => {
                    for (index, item) in items.iter().enumerate() {
                        item.as_str().into_iter().for_each(|text| self.credential(text, &Way::Item(&way, index)));
                    }
                }
                (_, Some(Json::Str(text))) => self.credential(text, &way),
                _ => {}
            }
        }
    }

    fn credential(&mut self, text: &str, way: &Way<'_>) {
        let Some(name) = self.guard.find(text) else { return };
        let guard = self.guard;
        let found = || match guard {
            CredentialGuard::Patterns => format!("what looks like {name}"),
            CredentialGuard::Reference => format!("`{name}`, which the reference's guard refuses"),
        };
        let next = "remove the credential; the log is append-only";
        self.add(Category::PiiViolation, way, found, "text without credentials", next);
    }

    /// Checks that the number can be that of an event of this type.
    fn first_number(&mut self, event_type: &str, trace_seq: i64) {
        let expected = match event_type == FIRST_TYPE {
            true if trace_seq != 0 => "0: a trace begins with its TraceStarted",
            false if trace_seq == 0 => "1 or more: event 0 of a trace is its TraceStarted",
            false if !(1..=TRACE_SEQ_MAX).contains(&trace_seq) => "1 or more, and below the maximum of 64 bits",
            _ => return,
        };
        let next = "number the events of a trace from 0 on, or leave trace_seq out: the log draws it";
        let found = || trace_seq.to_string();
        self.add(Category::EventSequenceInvalid, &Way::Start("trace_seq"), found, expected, next);
    }
}

/// Describes a form in a phrase, with the words that it allows.
fn expected(form: Form) -> (String, &'static [&'static str]) {
    let phrase = match form {
        Form::Filled(bytes_max) | Form::Key(bytes_max) => format!("a string of 1 to {bytes_max} bytes"),
        Form::Text(bytes_max) => format!("a string of at most {bytes_max} bytes"),
        Form::Time => "a time of RFC 3339 that exists, such as 2026-01-31T09:30:00Z".to_owned(),
        Form::Word(words) => return (format!("one of {}", words.join(", ")), words),
        Form::Number => "an integer from 0 on, or the string `next`".to_owned(),
        Form::Integer => "an integer of 64 bits".to_owned(),
        Form::Count => "an integer above 0".to_owned(),
        Form::Hash => "`sha256:` and 64 hex digits, the hash of the payload".to_owned(),
        Form::List => "a list".to_owned(),
        Form::Tags => "a list of strings".to_owned(),
        Form::Object(_) => "an object".to_owned(),
        Form::Ignored => "any value".to_owned(),
    };
    (phrase, &[])
}

/// Returns the word that was probably meant.
fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    let near = words.iter().map(|known| (distance(word, known), *known)).min()?;
    (near.0 <= near.1.len() / 3 + 1).then_some(near.1)
}

/// Returns the key of an object that was probably meant to be this member.
fn mistyped<'j>(object: &'j Json<'_>, members: &[Member], name: &str) -> Option<&'j str> {
    let Json::Object(all) = object else { return None };
    let unknown = all.iter().take(MEMBERS_MAX).map(|(key, _)| key.as_ref());
    let unknown = unknown.filter(|key| members.iter().all(|member| member.name != *key));
    let near = unknown.map(|key| (distance(key, name), key)).min()?;
    (near.0 <= 2).then_some(near.1)
}

fn distance(word: &str, known: &str) -> usize {
    if word.len() > WORD_BYTES_MAX { usize::MAX } else { strsim::levenshtein(word, known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Fault> {
        let mut faults = Faults::new(100);
        read(text, CredentialGuard::default(), &mut faults);
        assert_eq!(faults.count, faults.shown.len() as u64);
        faults.shown
    }

    const GOOD: &str = r#"{"trace_id":"t","event_type":"ApprovalRecorded","occurred_at":"2026-01-01T00:00:00Z","source":{"producer_id":"p","system":"s"},"actor":{"actor_type":"agent","actor_id":"a"},"idempotency_key":"k","payload":{"approval_id":"a","subject":{"subject_type":"exception","subject_id":"x"},"approver":{"actor_type":"person","actor_id":"b"},"decision":"approved"}}"#;

    #[test]
    fn every_fault_of_a_line_is_found_with_its_path_and_what_to_do() {
        assert_eq!(found(GOOD), []);
        let bad = GOOD
            .replace("occurred_at", "occurredAt")
            .replace("\"approved\"", "\"aproved\"")
            .replace("\"producer_id\":\"p\",", "")
            .replace("\"person\"", "\"human\",\"score\":[0.87,\"password=hunter2\"]")
            .replace("\"k\"", "\"\"");
        let told: Vec<_> = found(&bad).into_iter().map(|fault| (fault.path, fault.found, fault.next)).collect();
        let told: Vec<(&str, &str, &str)> =
            told.iter().map(|(path, found, next)| (path.as_str(), found.as_str(), next.as_str())).collect();
        assert_eq!(
            told,
            [
                ("occurred_at", "nothing", "rename `occurredAt` to `occurred_at`"),
                ("source.producer_id", "nothing", "add it: Id of the producer; idempotency keys are unique in it."),
                ("idempotency_key", "an empty string", "fill it"),
                ("payload.approver.actor_type", "a string of 5 bytes", "write one of these words"),
                ("payload.decision", "a string of 7 bytes", "write one of these words; the nearest is `approved`"),
                ("payload.approver.score[0]", "a float", INSTEAD_OF_A_FLOAT),
                (
                    "payload.approver.score[1]",
                    "what looks like a password (`password=` and at least 6 characters, with a letter and a digit)",
                    "remove the credential; the log is append-only"
                ),
            ]
        );
        let words: Vec<_> = found(&bad).into_iter().filter(|fault| !fault.words.is_empty()).collect();
        assert_eq!(words[1].words, ["approved", "rejected"]);
        assert_eq!(words[1].expected, "one of approved, rejected");
    }

    #[test]
    fn faults_beyond_the_limit_are_counted() {
        let mut faults = Faults::new(2);
        let floats = vec!["1.5"; 10_000].join(",");
        let line = GOOD.replace("\"person\"", &format!("\"person\",\"x\":[{floats}]"));
        read(&line, CredentialGuard::default(), &mut faults);
        assert_eq!((faults.shown.len(), faults.count), (2, 10_000));
        assert_eq!(faults.shown[1].path, "payload.approver.x[1]");
    }
}
