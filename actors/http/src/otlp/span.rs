//! A span, as rows of the table read it, and the events that it becomes.
//!
//! *Guarantees.* The same span gives the same events with the same ids and keys, in whatever request it comes. A span,
//! or a span event, becomes all of its events or none.

use super::attributes::{self, EVENT_TYPE, ROOT, stated, text};
use super::made::{Left, Made, Place};
use super::table::{CONVENTIONS, Of, Origin, Rule, VERSION, rules};
use decisiongraph_engine::telemetry::signals::{EVENT_NOT_MAPPED, INVALID_SPAN, MEMBER_MISSING, NOT_GENAI, NOT_MAPPED};
use decisiongraph_projections::event::{EVENT_BYTES_MAX, EventType, Line};
use decisiongraph_projections::validation::admit;
use decisiongraph_projections::{Category, Refusal};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::{Builder, Uuid};

/// Domain of the ids of events.
const ID_CONTEXT: &str = "decisiongraph 2026-12 event of an OpenTelemetry span";

/// A span in its resource and scope.
pub struct Seen<'a> {
    /// Number of the span in the request.
    number: usize,
    /// Id of its trace, in hex.
    pub trace: String,
    /// Id of the span, in hex.
    id: String,
    /// `service.name` of the resource.
    service: &'a str,
    /// Attributes of the resource.
    resource: &'a [KeyValue],
    scope: Option<&'a InstrumentationScope>,
    /// Schema of the conventions that the sender names.
    schema: &'a str,
    /// The span.
    pub span: &'a Span,
}

/// A span, or one of its span events, as a row reads it.
pub struct Subject<'a> {
    attributes: &'a [KeyValue],
    /// Number of the span event; none for the span itself.
    event: Option<usize>,
    /// Start and end, in nanoseconds.
    times: (u64, u64),
}

/// An event with the time by which it is ordered.
pub type Timed = (u64, Made);

impl<'a> Seen<'a> {
    /// Reads a span. A span without ids, times or the name of its service is left out.
    pub fn new(
        number: usize,
        resource: &'a [KeyValue],
        scope: Option<&'a InstrumentationScope>,
        schema: &'a str,
        span: &'a Span,
    ) -> Result<Seen<'a>, Left> {
        let left = |message: &str| Left { span: number, reason: INVALID_SPAN, message: message.to_owned() };
        let id = |bytes: &[u8], length: usize| {
            (bytes.len() == length && bytes.iter().any(|byte| *byte != 0)).then(|| hex(bytes))
        };
        let trace = id(&span.trace_id, 16).ok_or_else(|| left("`traceId` must have 16 bytes, not all zero"))?;
        let id = id(&span.span_id, 8).ok_or_else(|| left("`spanId` must have 8 bytes, not all zero"))?;
        let service = text(resource, "service.name").ok_or_else(|| left("the resource has no `service.name`"))?;
        if span.start_time_unix_nano == 0 || span.end_time_unix_nano == 0 {
            return Err(left("`startTimeUnixNano` and `endTimeUnixNano` must be given"));
        }
        Ok(Seen { number, trace, id, service, resource, scope, schema, span })
    }

    /// True for the span that ends its trace: it has no parent, or says so.
    pub fn is_root(&self) -> bool {
        self.span.parent_span_id.iter().all(|byte| *byte == 0)
            || attributes::find(&self.span.attributes, ROOT) == Some(&Value::BoolValue(true))
    }

    /// True for the root span of an agent or of a workflow.
    pub fn leads(&self) -> bool {
        self.is_root() && self.operation().is_some_and(|name| ["invoke_agent", "invoke_workflow"].contains(&name))
    }

    /// Returns the operation of the GenAI conventions.
    pub fn operation(&self) -> Option<&'a str> {
        text(&self.span.attributes, "gen_ai.operation.name")
    }

    /// Returns the span itself as a subject.
    pub fn subject(&self) -> Subject<'a> {
        let times = (self.span.start_time_unix_nano, self.span.end_time_unix_nano);
        Subject { attributes: &self.span.attributes, event: None, times }
    }

    fn left(&self, reason: &'static str, message: impl Into<String>) -> Left {
        Left { span: self.number, reason, message: message.into() }
    }

    /// Makes the events of the span and of its span events, but those of its trace.
    pub fn between(&self) -> (Vec<Timed>, Vec<Left>) {
        let (mut made, mut left) = (Vec::new(), Vec::new());
        let mut take = |events: Result<Vec<Timed>, Left>| match events {
            Ok(events) => made.extend(events),
            Err(why) => left.push(why),
        };
        for (number, event) in self.span.events.iter().enumerate() {
            let times = (event.time_unix_nano, event.time_unix_nano);
            let subject = Subject { attributes: &event.attributes, event: Some(number), times };
            take(
                self.of(&subject, |of| matches!(of, Of::SpanEvent(name) if name == event.name))
                    .unwrap_or_else(|| Err(self.left(EVENT_NOT_MAPPED, format!("span event `{}`", event.name)))),
            );
        }
        let operation = self.operation();
        match self.of(&self.subject(), |of| matches!(of, Of::Operation(name) if Some(name) == operation)) {
            // The root of an agent without a name starts and ends its trace all the same.
            Some(Err(why)) if why.reason == MEMBER_MISSING && self.leads() => {}
            Some(events) => take(events),
            None => take(Err(match operation {
                Some(operation) => self.left(NOT_MAPPED, format!("`gen_ai.operation.name` is `{operation}`")),
                None => self.left(NOT_GENAI, "the span has no `gen_ai.operation.name`"),
            })),
        }
        if !made.is_empty() {
            // A span is stored when its span events are.
            left.retain(|left| ![NOT_MAPPED, NOT_GENAI].contains(&left.reason));
        }
        (made, left)
    }

    /// Makes the events of a subject: the one that it states, or those of the rows for it. None without any.
    fn of(&self, subject: &Subject<'_>, of: impl Fn(Of) -> bool) -> Option<Result<Vec<Timed>, Left>> {
        let rows: Vec<&Rule> = match attributes::find(subject.attributes, EVENT_TYPE) {
            None => rules(of).collect(),
            Some(_) => {
                let word = text(subject.attributes, EVENT_TYPE).and_then(EventType::parse);
                let row = rules(|of| of == Of::Stated).find(|rule| Some(rule.event_type) == word);
                let Some(row) = row else {
                    let message =
                        format!("`{EVENT_TYPE}` must be an event type, and neither start nor finish of a trace");
                    return Some(Err(self.left(Category::SchemaViolation.as_str(), message)));
                };
                vec![row]
            }
        };
        (!rows.is_empty()).then(|| rows.into_iter().map(|rule| self.event(subject, rule)).collect())
    }

    /// Makes the event of a row, and checks it as an append does.
    pub fn event(&self, subject: &Subject<'_>, rule: &Rule) -> Result<Timed, Left> {
        let (start, end) = subject.times;
        let nanos = if rule.at_start { start } else { end };
        let occurred_at = instant(nanos).ok_or_else(|| self.left(INVALID_SPAN, "a time of the span is not given"))?;
        let part = match (rule.part, subject.event) {
            ("start", _) => "start".to_owned(),
            (part, None) => format!("{}:{part}", self.id),
            (part, Some(number)) => format!("{}:{number}:{part}", self.id),
        };
        let (actor_type, actor_id) = match self.agent() {
            Some(agent) => ("agent", agent),
            None => ("system", self.service),
        };
        let namespace = text(self.resource, "service.namespace").unwrap_or(self.service);
        let mut event = json!({
            "event_id": self.event_id(&part),
            "trace_id": self.trace,
            "event_type": rule.event_type.as_str(),
            "occurred_at": occurred_at,
            "source": { "producer_id": self.service, "system": namespace },
            "actor": { "actor_type": actor_type, "actor_id": actor_id },
            "idempotency_key": format!("otel:{}:{part}", self.trace),
            "tags": ["opentelemetry"],
            "payload": self.payload(subject, rule)?,
        });
        if let Some(scope) = self.scope.filter(|scope| !scope.name.is_empty()) {
            event["source"]["subsystem"] = Json::from(scope.name.as_str());
        }
        if let Some(conversation) = text(&self.span.attributes, "gen_ai.conversation.id") {
            event["correlation_id"] = Json::from(conversation);
        }
        if rule.part == "committed" {
            event["causation_event_id"] = Json::from(self.event_id(&format!("{}:proposed", self.id)));
        }
        let line = event.to_string();
        check(&line).map_err(|refusal| self.left(refusal.category.as_str(), refusal.message))?;
        let producer = self.service.to_owned();
        Ok((nanos, Made { span: self.number, place: Place::Between, producer, line }))
    }

    /// Names the agent of the span, which is that of its span events, too.
    fn agent(&self) -> Option<&'a str> {
        let attributes = &self.span.attributes;
        text(attributes, "gen_ai.agent.id").or_else(|| text(attributes, "gen_ai.agent.name"))
    }

    fn event_id(&self, part: &str) -> String {
        let key = blake3::derive_key(ID_CONTEXT, format!("{}:{part}", self.trace).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&key[..16]);
        let id: Uuid = Builder::from_custom_bytes(bytes).into_uuid();
        id.to_string()
    }

    fn payload(&self, subject: &Subject<'_>, rule: &Rule) -> Result<Json, Left> {
        let mut stated = stated(subject.attributes);
        if matches!(rule.of, Of::Start | Of::StartWithRoot) {
            // A service may state the start of its traces once, in its resource.
            for (name, value) in attributes::stated(self.resource) {
                stated.entry(name).or_insert(value);
            }
        }
        let mut payload = Map::new();
        for member in rule.members {
            let value = stated
                .remove(member.name)
                .or_else(|| member.from.iter().find_map(|origin| self.value(subject, origin)));
            let Some(value) = value else {
                let (name, event) = (member.name, rule.event_type.as_str());
                let message = format!("no attribute gives `{name}` of {event}; state it as `decisiongraph.{name}`");
                return Err(self.left(MEMBER_MISSING, message));
            };
            payload.insert(member.name.to_owned(), value);
        }
        if rule.of == Of::Stated {
            payload.extend(stated);
        }
        let kept = rule
            .kept
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), attributes::json(attributes::find(subject.attributes, key)?))));
        let kept: Map<String, Json> = kept.collect();
        if !kept.is_empty() {
            payload.insert("attributes".to_owned(), Json::Object(kept));
        }
        payload.insert("otel_mapping".to_owned(), Json::from(VERSION));
        payload.insert("otel".to_owned(), self.otel(subject, rule.of));
        Ok(Json::Object(payload))
    }

    /// Describes the span behind an event.
    fn otel(&self, subject: &Subject<'_>, of: Of) -> Json {
        let (start, end) = subject.times;
        let mut otel = json!({ "conventions": CONVENTIONS, "span_id": self.id });
        if of == Of::Start {
            // The start of a trace whose root is not known says nothing more about the span that came first.
            return otel;
        }
        let mut add = |name: &str, value: Json| otel[name] = value;
        add("span_name", self.span.name.as_str().into());
        if self.span.parent_span_id.iter().any(|byte| *byte != 0) {
            add("parent_span_id", hex(&self.span.parent_span_id).into());
        }
        if !self.schema.is_empty() {
            add("schema_url", self.schema.into());
        }
        match subject.event {
            Some(number) => add("span_event", number.into()),
            None => add("duration_us", (end.saturating_sub(start) / 1_000).into()),
        }
        otel
    }

    fn value(&self, subject: &Subject<'_>, origin: &Origin) -> Option<Json> {
        let failed = || {
            let status = self.span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32);
            status || attributes::find(&self.span.attributes, "error.type").is_some()
        };
        match origin {
            Origin::Attribute(key) => text(subject.attributes, key).map(Json::from),
            Origin::Service => Some(self.service.into()),
            Origin::SpanName => (!self.span.name.is_empty()).then(|| self.span.name.as_str().into()),
            Origin::TraceId => Some(self.trace.as_str().into()),
            Origin::Reference => Some(match subject.event {
                None => format!("{}/{}", self.trace, self.id).into(),
                Some(number) => format!("{}/{}/{number}", self.trace, self.id).into(),
            }),
            Origin::Status => Some(if failed() { "failure" } else { "success" }.into()),
            Origin::Word(word) => Some((*word).into()),
            Origin::EmptyList => Some(json!([])),
            Origin::Entity(kind, from) => {
                let id = from.iter().find_map(|origin| self.value(subject, origin))?;
                Some(json!({ "entity_type": kind, "entity_id": id }))
            }
            Origin::Object(kind, key) => {
                let id = text(subject.attributes, key)?;
                let system = text(&self.span.attributes, "gen_ai.provider.name").unwrap_or(self.service);
                Some(json!({ "system": system, "object_type": kind, "object_id": id }))
            }
            Origin::Facts(keys) => {
                let facts = keys.iter().filter_map(|key| {
                    let value = attributes::json(attributes::find(subject.attributes, key)?);
                    Some(json!({ "name": key, "value": value }))
                });
                Some(facts.collect())
            }
        }
    }
}

/// Checks a line as an append does before it asks the log.
fn check(line: &str) -> Result<(), Refusal> {
    if line.len() > EVENT_BYTES_MAX {
        let message = format!("the event has more than {EVENT_BYTES_MAX} bytes");
        return Err(Refusal::new(Category::InvalidArgument, message));
    }
    admit(Line::parse(line)?.draft).map(|_| ())
}

fn instant(nanos: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok().filter(|_| nanos > 0)?;
    time.format(&Rfc3339).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
