//! Attributes of OpenTelemetry as payload members.
//!
//! *Guarantees.* A value is kept as it was sent. A float becomes text in its shortest form, because payloads have no
//! floats; bytes become base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use serde_json::{Map, Number, Value as Json};

/// Prefix of the attributes in which a program states members of an event itself.
pub const STATED: &str = "decisiongraph.";
/// Attribute with the type of an event that a program states itself.
pub const EVENT_TYPE: &str = "decisiongraph.event_type";
/// Attribute of a span that ends its trace although it has a parent.
pub const ROOT: &str = "decisiongraph.root";

/// Finds the value of an attribute.
pub fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()
}

/// Finds an attribute that is text with at least one character.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match find(attributes, key)? {
        Value::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Makes JSON of a value.
pub fn json(value: &Value) -> Json {
    let item = |value: Option<&Value>| value.map_or(Json::Null, json);
    match value {
        Value::StringValue(text) => Json::from(text.as_str()),
        Value::BoolValue(value) => Json::from(*value),
        Value::IntValue(value) => Json::from(*value),
        Value::DoubleValue(value) => Json::from(decimal(*value)),
        Value::BytesValue(bytes) => Json::from(STANDARD.encode(bytes)),
        Value::ArrayValue(list) => list.values.iter().map(|value| item(value.value.as_ref())).collect(),
        Value::KvlistValue(list) => {
            let pairs = list.values.iter();
            let value = |pair: &KeyValue| item(pair.value.as_ref().and_then(|value| value.value.as_ref()));
            Json::Object(pairs.map(|pair| (pair.key.clone(), value(pair))).collect())
        }
        // An index into a table that only profiles have.
        Value::StringValueStrindex(_) => Json::Null,
    }
}

/// Writes a float in its shortest form, as JSON does.
fn decimal(value: f64) -> String {
    match Number::from_f64(value) {
        Some(number) => number.to_string(),
        None if value.is_nan() => "NaN".to_owned(),
        None if value > 0.0 => "Infinity".to_owned(),
        None => "-Infinity".to_owned(),
    }
}

/// Collects the members that a program stated: `decisiongraph.policy.policy_id` is `policy_id` of the member `policy`.
pub fn stated(attributes: &[KeyValue]) -> Map<String, Json> {
    let mut members = Map::new();
    for pair in attributes.iter().filter(|pair| pair.key != EVENT_TYPE && pair.key != ROOT) {
        let Some(path) = pair.key.strip_prefix(STATED) else { continue };
        let Some(value) = pair.value.as_ref().and_then(|value| value.value.as_ref()) else { continue };
        match path.split_once('.') {
            None => drop(members.insert(path.to_owned(), json(value))),
            Some((name, inner)) => {
                let object = members.entry(name).or_insert(Json::Null);
                if !object.is_object() {
                    *object = Json::Object(Map::new());
                }
                if let Json::Object(object) = object {
                    object.insert(inner.to_owned(), json(value));
                }
            }
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};

    fn pair(key: &str, value: Value) -> KeyValue {
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }

    #[test]
    fn a_float_is_text_in_its_shortest_form_at_any_depth() {
        for (value, text) in [(0.85, "0.85"), (4.0, "4.0"), (0.1 + 0.2, "0.30000000000000004")] {
            assert_eq!(json(&Value::DoubleValue(value)), text);
        }
        assert_eq!(json(&Value::DoubleValue(f64::NEG_INFINITY)), "-Infinity");
        let score = KeyValueList { values: vec![pair("score", Value::DoubleValue(0.5))] };
        let list =
            ArrayValue { values: vec![AnyValue { value: Some(Value::KvlistValue(score)) }, AnyValue::default()] };
        assert_eq!(json(&Value::ArrayValue(list)), serde_json::json!([{ "score": "0.5" }, null]));
    }

    #[test]
    fn stated_members_are_nested_by_their_dots() {
        let word = |text: &str| Value::StringValue(text.to_owned());
        let members = stated(&[
            pair("decisiongraph.event_type", word("PolicyEvaluated")),
            pair("decisiongraph.policy.policy_id", word("cap")),
            pair("decisiongraph.policy.policy_version", word("2")),
            pair("decisiongraph.decision", word("allow")),
            pair("gen_ai.agent.name", word("a")),
        ]);
        let expected =
            serde_json::json!({ "policy": { "policy_id": "cap", "policy_version": "2" }, "decision": "allow" });
        assert_eq!(Json::Object(members), expected);
    }
}
