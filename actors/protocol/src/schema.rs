//! JSON Schemas (2020-12) of events, made of the tables of shapes that an append checks by.
//!
//! *Guarantees.* A schema refuses no event that an append takes. It takes an event that an append refuses only where
//! JSON Schema cannot say the rule; the document names these places in `$comment`.

#[cfg(test)]
mod agreement;

use decisiongraph_projections::canonical_json::DEPTH_MAX;
use decisiongraph_projections::event::{EVENT_BYTES_MAX, ID_BYTES_MAX};
use decisiongraph_projections::sequence::TRACE_SEQ_MAX;
use decisiongraph_projections::shape::{ENVELOPE, FIRST_TYPE, Form, Member, Presence, Shape, TYPES};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Name of the schema of an event of any type.
pub const ANY_TYPE: &str = "envelope";

/// Form of a time: every field within its range. The days of a month are beyond it.
const TIME: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)\
                    (\\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// An entry of the list of schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Name of the schema: an event type, or [`ANY_TYPE`].
    pub name: &'static str,
    /// Meaning, in one sentence.
    pub about: &'static str,
}

/// Lists the schemas.
pub fn list() -> Vec<Listed> {
    let envelope = Listed { name: ANY_TYPE, about: "An event of any type, without the members of its payload." };
    let types = TYPES.iter().map(|shape| Listed { name: shape.name, about: shape.about });
    std::iter::once(envelope).chain(types).collect()
}

/// Returns the schema of this name.
pub fn of(name: &str) -> Option<Value> {
    let listed = list().into_iter().find(|listed| listed.name == name)?;
    Some(document(listed, TYPES.iter().find(|shape| shape.name == name)))
}

fn document(Listed { name, about }: Listed, shape: Option<&Shape>) -> Value {
    let mut schema = object(ENVELOPE, false);
    let properties = &mut schema["properties"];
    let meaning = properties["trace_seq"]["description"].take();
    properties["trace_seq"] = number(shape);
    properties["trace_seq"]["description"] = meaning;
    properties["payload"]["additionalProperties"] = any_value();
    if let Some(shape) = shape {
        describe(&mut properties["event_type"], json!({ "enum": [shape.name] }));
        describe(&mut properties["payload"], object(shape.payload, true));
    }
    describe(
        &mut schema,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("urn:decisiongraph:schema:{name}"),
            "title": name,
            "description": about,
            "$comment": beyond(),
            "$defs": {
                "value": {
                    "description": "Any value without floats.",
                    "type": ["null", "boolean", "integer", "string", "array", "object"],
                    "items": any_value(),
                    "additionalProperties": any_value(),
                },
            },
        }),
    );
    schema
}

/// Names the rules that a schema cannot say.
fn beyond() -> String {
    format!(
        "An append checks more than JSON Schema can say. Numbers: 1.0 and 1e3 are floats, and floats are refused in a \
         payload. Lengths are bytes of UTF-8, not characters. Text: a line has at most {EVENT_BYTES_MAX} bytes and \
         {DEPTH_MAX} levels, and no string has U+0000 or half a surrogate pair. Credentials are refused in the strings \
         of payload, tags, actor, source, correlation_id, causation_event_id and idempotency_key. The log: trace_seq is \
         the next number of its trace, nothing comes behind TraceFinished, event_id and idempotency_key are not taken."
    )
}

/// Makes the schema of an object with these members. In a payload, no other member has a float either.
fn object(members: &[Member], in_payload: bool) -> Value {
    let needed = members.iter().filter(|member| member.presence == Presence::Needed);
    let required: Vec<&str> = needed.map(|member| member.name).collect();
    let properties: Map<String, Value> =
        members.iter().map(|member| (member.name.to_owned(), described(member, in_payload))).collect();
    let mut schema = json!({ "type": "object" });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    if in_payload {
        schema["additionalProperties"] = any_value();
    }
    schema
}

fn described(member: &Member, in_payload: bool) -> Value {
    let mut schema = value(member.form, in_payload);
    schema["description"] = member.about.into();
    if member.presence == Presence::Nullable
        && let Some(Value::String(only)) = schema.get("type").cloned()
    {
        schema["type"] = json!([only, "null"]);
    }
    schema
}

fn value(form: Form, in_payload: bool) -> Value {
    match form {
        Form::Filled(bytes_max) | Form::Key(bytes_max) => {
            json!({ "type": "string", "minLength": 1, "maxLength": bytes_max })
        }
        Form::Text(bytes_max) => json!({ "type": "string", "maxLength": bytes_max }),
        Form::Time => json!({
            "type": "string", "maxLength": ID_BYTES_MAX, "pattern": TIME,
            "$comment": "RFC 3339. The day must exist; second 60 only at 23:59:60 UTC on the last day of a month.",
        }),
        Form::Word(words) => json!({ "type": "string", "enum": words }),
        Form::Number => number(None),
        Form::Integer => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
        Form::Count => json!({ "type": "integer", "minimum": 1 }),
        Form::Hash => json!({
            "type": "string", "pattern": "^sha256:[0-9a-f]{64}$",
            "$comment": "It must be the SHA-256 of the payload in canonical form.",
        }),
        Form::List => json!({ "type": "array", "items": any_value() }),
        Form::Tags => json!({ "type": "array", "items": { "type": "string" } }),
        Form::Object(members) => object(members, in_payload),
        Form::Ignored => json!({}),
    }
}

/// Makes the schema of the number of an event of this type in its trace.
fn number(shape: Option<&Shape>) -> Value {
    let least = match shape {
        Some(shape) if shape.name == FIRST_TYPE => return json!({ "enum": [0, "next"] }),
        Some(_) => 1,
        None => 0,
    };
    json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": TRACE_SEQ_MAX }, { "enum": ["next"] }] })
}

fn any_value() -> Value {
    json!({ "$ref": "#/$defs/value" })
}

/// Sets keywords of a schema.
fn describe(schema: &mut Value, keywords: Value) {
    if let (Value::Object(schema), Value::Object(keywords)) = (schema, keywords) {
        schema.extend(keywords);
    }
}
