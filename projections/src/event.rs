//! The event envelope: as a producer offers it ([`Draft`]), as an append stores it ([`Admitted`]), and as a projection
//! reads it back ([`LogEvent`]).

use crate::canonical_json::{Json, write_payload_string};
use crate::category::{Category, Refusal};
use crate::json_reader::{outline, parse};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Longest tenant id, in bytes: it starts every database key.
pub const TENANT_BYTES_MAX: usize = 200;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;
/// Longest id, in bytes. An append refuses a longer id; a replay does not. Ids are keys and occur in many rows.
pub const ID_BYTES_MAX: usize = 4_096;
/// Longest title of a trace, in bytes. An append refuses a longer title; a replay does not. The trace's row holds it.
pub const TITLE_BYTES_MAX: usize = 16 * 1024;
/// Longest event, in bytes of one JSON line. A longer one is refused before it is read.
pub const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A position in the log: global to the database, growing, with gaps. 0 is "before the first event".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogSeq(pub i64);

impl LogSeq {
    /// Before the first event.
    pub const ORIGIN: LogSeq = LogSeq(0);
}

impl fmt::Display for LogSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Id of the tenant of a log. 1 to [`TENANT_BYTES_MAX`] bytes without U+0000.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// Creates the tenant id, or fails with `invalid_argument`.
    pub fn new(id: impl Into<String>) -> Result<TenantId, Refusal> {
        let id = id.into();
        if id.is_empty() || id.len() > TENANT_BYTES_MAX || id.contains('\0') {
            return Err(Refusal::new(
                Category::InvalidArgument,
                format!(
                    "a tenant id must have 1 to {TENANT_BYTES_MAX} bytes and no U+0000; this one has {} bytes",
                    id.len()
                ),
            ));
        }
        Ok(TenantId(id))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> TenantId {
        TenantId("default".to_owned())
    }
}

impl TryFrom<String> for TenantId {
    type Error = Refusal;
    fn try_from(id: String) -> Result<TenantId, Refusal> {
        TenantId::new(id)
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> String {
        tenant.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ten event types of the reference. The log may hold other types; projections ignore them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum EventType {
    TraceStarted,
    InputObserved,
    EntityObserved,
    PolicyEvaluated,
    ExceptionRequested,
    ApprovalRecorded,
    PrecedentCited,
    ActionProposed,
    ActionCommitted,
    TraceFinished,
}

impl EventType {
    /// Every type, in the order of a typical trace.
    pub const ALL: [EventType; 10] = [
        EventType::TraceStarted,
        EventType::InputObserved,
        EventType::EntityObserved,
        EventType::PolicyEvaluated,
        EventType::ExceptionRequested,
        EventType::ApprovalRecorded,
        EventType::PrecedentCited,
        EventType::ActionProposed,
        EventType::ActionCommitted,
        EventType::TraceFinished,
    ];

    /// Returns the word in the envelope.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventType::TraceStarted => "TraceStarted",
            EventType::InputObserved => "InputObserved",
            EventType::EntityObserved => "EntityObserved",
            EventType::PolicyEvaluated => "PolicyEvaluated",
            EventType::ExceptionRequested => "ExceptionRequested",
            EventType::ApprovalRecorded => "ApprovalRecorded",
            EventType::PrecedentCited => "PrecedentCited",
            EventType::ActionProposed => "ActionProposed",
            EventType::ActionCommitted => "ActionCommitted",
            EventType::TraceFinished => "TraceFinished",
        }
    }

    /// Returns the type with this word.
    pub fn parse(word: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|t| t.as_str() == word)
    }
}

/// Program that produced an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The producer; idempotency keys are unique within it.
    pub producer_id: String,
    /// System that the producer runs in.
    pub system: String,
    /// A part of that system.
    pub subsystem: Option<String>,
}

/// Actor on whose behalf an event happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// `agent`, `person`, `role` or `system`.
    pub actor_type: String,
    /// Id of the actor.
    pub actor_id: String,
}

/// The envelope without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Id of the event, unique in its tenant.
    pub event_id: String,
    /// Decision trace of the event.
    pub trace_id: String,
    /// Position in the trace, from 0.
    pub trace_seq: i64,
    /// One of [`EventType`] (any word in a stored event).
    pub event_type: String,
    /// Time of the event: RFC 3339, kept byte for byte.
    pub occurred_at: String,
    /// Program that produced the event.
    pub source: Source,
    /// Actor on whose behalf it happened.
    pub actor: Actor,
    /// Idempotency key: 1 to 200 bytes, unique within tenant and producer.
    pub idempotency_key: String,
    /// Id that groups events across traces.
    pub correlation_id: Option<String>,
    /// The event that led to this one.
    pub causation_event_id: Option<String>,
    /// Version of the payload's shape.
    pub schema_version: i64,
    /// Free words.
    pub tags: Vec<String>,
}

/// An event as offered: its shape is checked, its content is not.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The envelope.
    pub envelope: Envelope,
    /// The payload, any JSON.
    pub payload: Json<'a>,
    /// True when the envelope's `trace_seq` is yet to be drawn: it is the number that is due when the event is stored.
    pub next: bool,
}

impl Draft<'_> {
    /// Gives an event without an id the id that `draw` makes.
    #[must_use]
    pub fn identified(mut self, draw: impl FnOnce() -> String) -> Self {
        if self.envelope.event_id.is_empty() {
            self.envelope.event_id = draw();
        }
        self
    }
}

/// An event that passed every check that needs no database. It is ready to be stored. Only [`crate::validation::admit`]
/// makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    pub(crate) envelope: Envelope,
    pub(crate) payload: String,
    pub(crate) payload_hash: String,
    pub(crate) next: bool,
}

impl Admitted {
    /// True when the envelope's `trace_seq` is yet to be drawn: it is the number that is due when the event is stored.
    pub fn is_next(&self) -> bool {
        self.next
    }
    /// Returns the envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// Returns the payload in canonical form.
    pub fn payload(&self) -> &str {
        &self.payload
    }
    /// Returns `sha256:…` of the payload.
    pub fn payload_hash(&self) -> &str {
        &self.payload_hash
    }
}

/// A stored event with all its stored fields, as `export` and `events` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Position in the log.
    pub log_seq: LogSeq,
    /// Time when the store received it, RFC 3339 UTC; never in a digest.
    pub recorded_at: String,
    /// The envelope.
    pub envelope: Envelope,
    /// The payload as stored.
    pub payload: String,
    /// The stored hash.
    pub payload_hash: String,
    /// Part of the event that cannot be read, if any ([`fault`]). The event is then no line of an export.
    pub fault: Option<String>,
}

/// Returns the reason why a stored event cannot be written as a line. Another program stored a form that no append
/// writes.
pub fn fault(tags: Option<&[String]>, payload: &str) -> Option<String> {
    if tags.is_none() {
        return Some("its stored tags are not a JSON list of strings".to_owned());
    }
    // A raw line feed would begin another line.
    if payload.contains(['\n', '\r']) {
        return Some("its stored payload has a line feed outside its strings".to_owned());
    }
    outline(payload, 0).err().map(|error| format!("its stored payload is {error}"))
}

impl StoredEvent {
    /// Writes one JSON line (without the line feed): the envelope plus `log_seq`, `recorded_at` and `payload_hash`, and
    /// `tenant_id` when given. [`Line::parse`] reads it back.
    pub fn to_line(&self, tenant: Option<&TenantId>) -> String {
        let e = &self.envelope;
        let mut out = String::with_capacity(self.payload.len() + 512);
        let mut text = |key: &str, value: Option<&str>| {
            out.push(if out.is_empty() { '{' } else { ',' });
            write_payload_string(&mut out, key);
            out.push(':');
            match value {
                Some(value) => write_payload_string(&mut out, value),
                None => out.push_str("null"),
            }
        };
        if let Some(tenant) = tenant {
            text("tenant_id", Some(tenant.as_str()));
        }
        text("event_id", Some(&e.event_id));
        text("trace_id", Some(&e.trace_id));
        text("event_type", Some(&e.event_type));
        text("occurred_at", Some(&e.occurred_at));
        text("idempotency_key", Some(&e.idempotency_key));
        text("correlation_id", e.correlation_id.as_deref());
        text("causation_event_id", e.causation_event_id.as_deref());
        text("payload_hash", Some(&self.payload_hash));
        text("recorded_at", Some(&self.recorded_at));
        out.push_str(&format!(
            ",\"trace_seq\":{},\"schema_version\":{},\"log_seq\":{}",
            e.trace_seq, e.schema_version, self.log_seq
        ));
        let mut object = |name: &str, members: &[(&str, Option<&str>)]| {
            out.push_str(&format!(",\"{name}\":{{"));
            for (i, (key, value)) in members.iter().enumerate() {
                out.push_str(if i > 0 { ",\"" } else { "\"" });
                out.push_str(key);
                out.push_str("\":");
                match value {
                    Some(value) => write_payload_string(&mut out, value),
                    None => out.push_str("null"),
                }
            }
            out.push('}');
        };
        object(
            "source",
            &[
                ("producer_id", Some(&e.source.producer_id)),
                ("system", Some(&e.source.system)),
                ("subsystem", e.source.subsystem.as_deref()),
            ],
        );
        object("actor", &[("actor_type", Some(&e.actor.actor_type)), ("actor_id", Some(&e.actor.actor_id))]);
        out.push_str(",\"tags\":");
        tags_to_json(&mut out, &e.tags);
        out.push_str(",\"payload\":");
        out.push_str(&self.payload);
        out.push('}');
        out
    }
}

/// Appends tags as a JSON list, the form in which they are stored.
pub fn tags_to_json(out: &mut String, tags: &[impl AsRef<str>]) {
    out.push('[');
    for (i, tag) in tags.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_payload_string(out, tag.as_ref());
    }
    out.push(']');
}

/// Reads tags back from their stored form; `None` when it is not a list of strings.
pub fn tags_from_json(text: &str) -> Option<Vec<String>> {
    match parse(text).ok()?.value {
        Json::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Fields of an envelope that a projection reads only if it asks for them ([`crate::Projection::reads_metadata`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Program that produced the event.
    pub source: Source,
    /// Id that groups events across traces.
    pub correlation_id: Option<String>,
    /// The event that led to this one.
    pub causation_event_id: Option<String>,
    /// Version of the payload's shape.
    pub schema_version: i64,
    /// Free words; `None` when their stored form is no JSON list of strings, which no append writes.
    pub tags: Option<Vec<String>>,
}

impl Metadata {
    /// Returns the free words.
    ///
    /// # Errors
    /// `schema_violation` when their stored form cannot be read.
    pub fn tags(&self) -> Result<&[String], Refusal> {
        self.tags.as_deref().ok_or_else(|| schema("the stored tags are not a JSON list of strings"))
    }

    fn bytes(&self) -> usize {
        let Source { producer_id, system, subsystem } = &self.source;
        let maybe = [subsystem, &self.correlation_id, &self.causation_event_id].into_iter().flatten();
        let tags = self.tags.iter().flatten();
        [producer_id, system].into_iter().chain(maybe).chain(tags).map(String::len).sum()
    }
}

impl From<&Envelope> for Metadata {
    fn from(envelope: &Envelope) -> Metadata {
        Metadata {
            source: envelope.source.clone(),
            correlation_id: envelope.correlation_id.clone(),
            causation_event_id: envelope.causation_event_id.clone(),
            schema_version: envelope.schema_version,
            tags: Some(envelope.tags.clone()),
        }
    }
}

/// Fields of a stored event that a projection reads. A copy shares its texts, and so do the rows made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Position in the log.
    pub log_seq: LogSeq,
    /// Id of the event, unique in its tenant.
    pub event_id: Arc<str>,
    /// Trace of the event.
    pub trace_id: Arc<str>,
    /// Position in the trace.
    pub trace_seq: i64,
    /// Type of the event: any word; see [`EventType::parse`].
    pub event_type: Arc<str>,
    /// Time of the event: RFC 3339, byte for byte.
    pub occurred_at: Arc<str>,
    /// Envelope actor's type.
    pub actor_type: Arc<str>,
    /// Envelope actor's id.
    pub actor_id: Arc<str>,
    /// The payload as stored.
    pub payload: Arc<str>,
    /// The stored hash.
    pub payload_hash: Arc<str>,
    /// Further fields of the envelope, if a projection of the catalogue asks for them.
    pub metadata: Option<Arc<Metadata>>,
}

impl LogEvent {
    /// Returns an admitted event that has its number, as it is read from the log at this position, with its metadata.
    pub fn of(log_seq: LogSeq, event: &Admitted) -> LogEvent {
        let e = event.envelope();
        LogEvent {
            log_seq,
            event_id: e.event_id.as_str().into(),
            trace_id: e.trace_id.as_str().into(),
            trace_seq: e.trace_seq,
            event_type: e.event_type.as_str().into(),
            occurred_at: e.occurred_at.as_str().into(),
            actor_type: e.actor.actor_type.as_str().into(),
            actor_id: e.actor.actor_id.as_str().into(),
            payload: event.payload().into(),
            payload_hash: event.payload_hash().into(),
            metadata: Some(Arc::new(Metadata::from(e))),
        }
    }

    /// Returns the further fields of the envelope.
    ///
    /// # Errors
    /// `internal` when no projection of the catalogue asks for them.
    pub fn metadata(&self) -> Result<&Metadata, Refusal> {
        let missing = "metadata was not read: `reads_metadata` of the projection has to return true";
        self.metadata.as_deref().ok_or_else(|| Refusal::new(Category::Internal, missing))
    }

    /// Returns the type, if projections know it.
    pub fn known_type(&self) -> Option<EventType> {
        EventType::parse(&self.event_type)
    }

    /// Counts the bytes of all its texts. Pages are bounded by this size.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.bytes_beside_payload()
    }

    /// Counts the bytes of its texts except the payload: ids, which a projection's rows repeat.
    pub fn bytes_beside_payload(&self) -> usize {
        let texts = [
            &self.event_id,
            &self.trace_id,
            &self.event_type,
            &self.occurred_at,
            &self.actor_type,
            &self.actor_id,
            &self.payload_hash,
        ];
        let metadata = self.metadata.as_ref().map_or(0, |metadata| metadata.bytes());
        texts.into_iter().map(|text| text.len()).sum::<usize>() + metadata
    }
}

/// One line of an import: an envelope, and the optional fields of a line beside it.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// The event.
    pub draft: Draft<'a>,
    /// Tenant that overrides the tenant of the command.
    pub tenant_id: Option<TenantId>,
    /// Hash to be verified, when given.
    pub payload_hash: Option<String>,
    /// Position in the log that it comes from. An append ignores it.
    pub log_seq: Option<LogSeq>,
    /// Time when that log's store received it. An append ignores it.
    pub recorded_at: Option<String>,
}

impl<'a> Line<'a> {
    /// Reads one JSON object. Unknown members are ignored, and so is a `log_seq` or `recorded_at` of another form.
    /// Without `event_id`, the draft's is empty ([`Draft::identified`]). Without `trace_seq`, or with the text `next`,
    /// the number is drawn.
    pub fn parse(text: &'a str) -> Result<Line<'a>, Refusal> {
        let value = parse(text).map_err(|error| error.on_append())?.value;
        Line::from_json(value)
    }

    /// Reads the envelope of an object.
    pub fn from_json(value: Json<'a>) -> Result<Line<'a>, Refusal> {
        let Json::Object(mut members) = value else {
            return Err(schema(format!("an event must be a JSON object, not {}", value.kind())));
        };
        let payload = members
            .iter()
            .position(|(key, _)| key == "payload")
            .map(|at| members.remove(at).1)
            .ok_or_else(|| schema("`payload` is missing"))?;
        let object = Json::Object(members);
        let source = object.get("source").ok_or_else(|| schema("`source` is missing"))?;
        let actor = object.get("actor").ok_or_else(|| schema("`actor` is missing"))?;
        let tags = match object.get("tags") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| schema("`tags` must be a list of strings")))
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(schema(format!("`tags` must be a list of strings, not {}", other.kind()))),
        };
        let next = match object.get("trace_seq") {
            None => true,
            Some(number) => number.as_str() == Some("next"),
        };
        let envelope = Envelope {
            event_id: match object.get("event_id") {
                None => String::new(),
                Some(_) => filled(&object, "event_id", "event_id")?,
            },
            trace_id: filled(&object, "trace_id", "trace_id")?,
            trace_seq: if next { 0 } else { integer(&object, "trace_seq")?.unwrap_or_default() },
            event_type: filled(&object, "event_type", "event_type")?,
            occurred_at: filled(&object, "occurred_at", "occurred_at")?,
            source: Source {
                producer_id: filled(source, "producer_id", "source.producer_id")?,
                system: text(source, "system", "source.system")?,
                subsystem: optional(source, "subsystem", "source.subsystem")?,
            },
            actor: Actor {
                actor_type: text(actor, "actor_type", "actor.actor_type")?,
                actor_id: text(actor, "actor_id", "actor.actor_id")?,
            },
            idempotency_key: text(&object, "idempotency_key", "idempotency_key")?,
            correlation_id: optional(&object, "correlation_id", "correlation_id")?,
            causation_event_id: optional(&object, "causation_event_id", "causation_event_id")?,
            schema_version: integer(&object, "schema_version")?.unwrap_or(1),
            tags,
        };
        let tenant_id = optional(&object, "tenant_id", "tenant_id")?.map(TenantId::new).transpose()?;
        let payload_hash = optional(&object, "payload_hash", "payload_hash")?;
        let log_seq = integer(&object, "log_seq").ok().flatten().map(LogSeq);
        let recorded_at = optional(&object, "recorded_at", "recorded_at").ok().flatten();
        Ok(Line { draft: Draft { envelope, payload, next }, tenant_id, payload_hash, log_seq, recorded_at })
    }
}

fn schema(message: impl Into<String>) -> Refusal {
    Refusal::new(Category::SchemaViolation, message)
}

fn text(object: &Json<'_>, key: &str, path: &str) -> Result<String, Refusal> {
    match object.get(key) {
        Some(Json::Str(text)) => Ok(text.clone().into_owned()),
        Some(other) => Err(schema(format!("`{path}` must be a string, not {}", other.kind()))),
        None => Err(schema(format!("`{path}` is missing"))),
    }
}

fn filled(object: &Json<'_>, key: &str, path: &str) -> Result<String, Refusal> {
    let text = text(object, key, path)?;
    if text.is_empty() { Err(schema(format!("`{path}` is empty"))) } else { Ok(text) }
}

fn optional(object: &Json<'_>, key: &str, path: &str) -> Result<Option<String>, Refusal> {
    match object.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(_) => text(object, key, path).map(Some),
    }
}

fn integer(object: &Json<'_>, key: &str) -> Result<Option<i64>, Refusal> {
    match object.get(key) {
        None => Ok(None),
        Some(Json::Int(digits)) => {
            digits.parse().map(Some).map_err(|_| schema(format!("`{key}` does not fit in 64 bits")))
        }
        Some(other) => Err(schema(format!("`{key}` must be an integer, not {}", other.kind()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"event_id":"e1","trace_id":"t\u00e91","trace_seq":0,"event_type":"TraceStarted","occurred_at":"2026-01-01T00:00:00Z","source":{"producer_id":"p","system":"s"},"actor":{"actor_type":"agent","actor_id":"a"},"idempotency_key":"k","payload":{"b":1,"a":"x\ny"},"tags":["t1"],"log_seq":99,"unknown":1.5}"#;

    #[test]
    fn a_line_round_trips_through_storage_form() {
        let line = Line::parse(LINE).expect("reads");
        assert_eq!(line.draft.envelope.trace_id, "té1");
        assert_eq!(line.draft.envelope.schema_version, 1);
        let stored = StoredEvent {
            log_seq: LogSeq(7),
            recorded_at: "2026-01-01T00:00:01.5Z".to_owned(),
            envelope: line.draft.envelope.clone(),
            payload: line.draft.payload.to_payload_form(),
            payload_hash: "sha256:0".to_owned(),
            fault: None,
        };
        let tenant = TenantId::new("t").expect("valid");
        let text = stored.to_line(Some(&tenant));
        let back = Line::parse(&text).expect("reads back");
        assert_eq!(back.draft.envelope, line.draft.envelope);
        assert_eq!(back.draft.payload, parse(r#"{"a":"x\ny","b":1}"#).expect("JSON").value);
        assert_eq!(back.tenant_id, Some(tenant));
        assert_eq!(back.payload_hash.as_deref(), Some("sha256:0"));
        assert_eq!((back.log_seq, back.recorded_at.as_deref()), (Some(LogSeq(7)), Some("2026-01-01T00:00:01.5Z")));
    }

    #[test]
    fn id_and_number_may_be_left_to_the_server() {
        for (number, is_next) in [("\"trace_seq\":0,", false), ("\"trace_seq\":\"next\",", true), ("", true)] {
            let line = LINE.replace("\"trace_seq\":0,", number);
            assert_eq!(Line::parse(&line).expect("reads").draft.next, is_next, "{number}");
        }
        for (given, id) in [("\"event_id\":\"e1\",", "e1"), ("", "drawn")] {
            let line = LINE.replace("\"event_id\":\"e1\",", given);
            let draft = Line::parse(&line).expect("reads").draft.identified(|| "drawn".to_owned());
            assert_eq!(draft.envelope.event_id, id);
        }
    }

    #[test]
    fn a_wrong_envelope_is_named() {
        for (from, to, message) in [
            ("\"event_id\":\"e1\"", "\"event_id\":\"\"", "`event_id` is empty"),
            ("\"trace_seq\":0", "\"trace_seq\":\"0\"", "`trace_seq` must be an integer, not a string"),
            ("\"trace_seq\":0", "\"trace_seq\":99999999999999999999", "`trace_seq` does not fit in 64 bits"),
            ("[\"t1\"]", "[1]", "`tags` must be a list of strings"),
            ("\"producer_id\":\"p\"", "\"producer_id\":1", "`source.producer_id` must be a string, not an integer"),
        ] {
            let refusal = Line::parse(&LINE.replace(from, to)).expect_err(message);
            assert_eq!((refusal.category, refusal.message.as_str()), (Category::SchemaViolation, message));
        }
    }
}
