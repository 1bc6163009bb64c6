//! Writes events as JSON lines, in more than one spelling of the same value.

use decisiongraph_projections::canonical_json::{write_digest_string, write_payload_string};

/// Spelling of a line. All spellings have the same meaning and the same payload hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// The spelling of the canonical form.
    Canonical,
    /// ASCII only: everything else as `\uXXXX`, with surrogate pairs.
    Ascii,
    /// Blanks, and members that are not in order.
    Loose,
}

/// A JSON object under construction.
pub struct Object {
    spelling: Spelling,
    members: Vec<(&'static str, String)>,
}

impl Object {
    /// An empty object.
    pub fn new(spelling: Spelling) -> Object {
        Object { spelling, members: Vec::with_capacity(8) }
    }

    /// Adds a string.
    pub fn text(mut self, key: &'static str, text: &str) -> Object {
        let text = string(self.spelling, text);
        self.members.push((key, text));
        self
    }

    /// Adds a string, or null.
    pub fn optional(self, key: &'static str, text: Option<&str>) -> Object {
        match text {
            Some(text) => self.text(key, text),
            None => self.raw(key, "null".to_owned()),
        }
    }

    /// Adds JSON text.
    pub fn raw(mut self, key: &'static str, json: String) -> Object {
        self.members.push((key, json));
        self
    }

    /// Returns the JSON text.
    pub fn end(mut self) -> String {
        let (comma, colon) = match self.spelling {
            Spelling::Loose => (", ", ": "),
            _ => (",", ":"),
        };
        // Members are added in an order that suits the reader of the code; only the canonical form has an order.
        if self.spelling != Spelling::Loose {
            self.members.sort_by(|a, b| a.0.cmp(b.0));
        }
        let mut out = String::with_capacity(self.members.iter().map(|(key, json)| key.len() + json.len() + 6).sum());
        out.push('{');
        for (i, (key, json)) in self.members.iter().enumerate() {
            if i > 0 {
                out.push_str(comma);
            }
            out.push('"');
            out.push_str(key);
            out.push('"');
            out.push_str(colon);
            out.push_str(json);
        }
        out.push('}');
        out
    }
}

/// Writes a JSON string.
pub fn string(spelling: Spelling, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    match spelling {
        Spelling::Ascii => write_digest_string(&mut out, text),
        _ => write_payload_string(&mut out, text),
    }
    out
}

/// Writes a JSON list.
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    let mut out = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

/// Members of an envelope, without its payload.
pub struct Envelope<'e> {
    /// Tenant of the event, in a log of several tenants.
    pub tenant_id: Option<&'e str>,
    /// Unique id of the event.
    pub event_id: &'e str,
    /// Trace of the event.
    pub trace_id: &'e str,
    /// Position in the trace.
    pub trace_seq: usize,
    /// One of the ten event types.
    pub event_type: &'static str,
    /// RFC 3339.
    pub occurred_at: &'e str,
    /// Producer id, system, subsystem.
    pub source: (&'e str, &'e str, Option<&'e str>),
    /// Type, id.
    pub actor: (&'e str, &'e str),
    /// Key that is unique within its producer.
    pub idempotency_key: &'e str,
    /// Id that groups events.
    pub correlation_id: Option<&'e str>,
    /// Event that caused this one.
    pub causation_event_id: Option<&'e str>,
    /// Free words.
    pub tags: &'e [&'e str],
}

/// Writes the line of an event, without its line feed.
pub fn line(spelling: Spelling, e: &Envelope<'_>, payload: String) -> String {
    let mut object = Object::new(spelling);
    if let Some(tenant_id) = e.tenant_id {
        object = object.text("tenant_id", tenant_id);
    }
    let (producer_id, system, subsystem) = e.source;
    let source = Object::new(spelling)
        .text("producer_id", producer_id)
        .text("system", system)
        .optional("subsystem", subsystem)
        .end();
    let actor = Object::new(spelling).text("actor_type", e.actor.0).text("actor_id", e.actor.1).end();
    object
        .text("event_id", e.event_id)
        .text("trace_id", e.trace_id)
        .raw("trace_seq", e.trace_seq.to_string())
        .text("event_type", e.event_type)
        .text("occurred_at", e.occurred_at)
        .raw("source", source)
        .raw("actor", actor)
        .text("idempotency_key", e.idempotency_key)
        .optional("correlation_id", e.correlation_id)
        .optional("causation_event_id", e.causation_event_id)
        .raw("schema_version", "1".to_owned())
        .raw("tags", list(e.tags.iter().map(|tag| string(spelling, tag))))
        .raw("payload", payload)
        .end()
}
