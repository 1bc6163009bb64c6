//! The body of an export: protobuf, or JSON as OTLP has it.
//!
//! *Guarantees.* Spans are counted before any of them is read. JSON has names in lowerCamelCase, ids in hex, and
//! numbers of 64 bits as text or number. Members that are unknown or null are left out, as protobuf leaves out unknown
//! fields.

use super::answer::Form;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::json_reader::parse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::str::FromStr;

/// Most spans of a request, with the groups that they are in.
pub const SPANS_MAX: usize = 10_000;
/// Fields that lead to the spans of a request: groups by resource, groups by scope, spans.
const TO_SPANS: [u32; 3] = [1, 2, 2];

/// Reads the spans of a request.
pub fn decode(form: Form, body: &[u8]) -> Result<ExportTraceServiceRequest, String> {
    match form {
        Form::Protobuf => {
            within(count(body, &TO_SPANS).unwrap_or_default())?;
            ExportTraceServiceRequest::decode(body).map_err(|error| format!("the body: {error}"))
        }
        Form::Json => {
            let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?;
            let read = parse(text).map_err(|error| format!("the body is {error}"))?;
            request(&read.value)
        }
    }
}

fn within(spans: usize) -> Result<(), String> {
    if spans <= SPANS_MAX {
        return Ok(());
    }
    Err(format!("the request has more than {SPANS_MAX} spans; send fewer in a request"))
}

/// Counts the messages along a path of fields without reading them. None when the bytes are no such message.
fn count(message: &[u8], path: &[u32]) -> Option<usize> {
    let (wanted, below) = path.split_first()?;
    let (mut rest, mut found) = (message, 0);
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).ok()?;
        if tag == *wanted && wire == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (inside, behind) = rest.split_at_checked(length)?;
            found += 1 + if below.is_empty() { 0 } else { count(inside, below)? };
            rest = behind;
        } else {
            skip_field(wire, tag, &mut rest, DecodeContext::default()).ok()?;
        }
    }
    Some(found)
}

fn request(json: &Json<'_>) -> Result<ExportTraceServiceRequest, String> {
    if !matches!(json, Json::Object(_)) {
        return Err("the body must be a JSON object: an export of spans".to_owned());
    }
    let groups = list(json, "resourceSpans")?;
    let mut spans = 0;
    for group in groups {
        for scope in list(group, "scopeSpans")? {
            spans += 1 + list(scope, "spans")?.len();
        }
    }
    within(spans)?;
    Ok(ExportTraceServiceRequest { resource_spans: each(groups, resource_spans)? })
}

fn resource_spans(json: &Json<'_>) -> Result<ResourceSpans, String> {
    let resource = given(json, "resource").map(|resource| {
        Ok::<_, String>(Resource { attributes: attributes(resource, "attributes")?, ..Resource::default() })
    });
    Ok(ResourceSpans {
        resource: resource.transpose()?,
        scope_spans: each(list(json, "scopeSpans")?, scope_spans)?,
        schema_url: text(json, "schemaUrl")?,
    })
}

fn scope_spans(json: &Json<'_>) -> Result<ScopeSpans, String> {
    let scope = given(json, "scope").map(|scope| {
        let (name, version) = (text(scope, "name")?, text(scope, "version")?);
        Ok::<_, String>(InstrumentationScope { name, version, ..InstrumentationScope::default() })
    });
    Ok(ScopeSpans {
        scope: scope.transpose()?,
        spans: each(list(json, "spans")?, span)?,
        schema_url: text(json, "schemaUrl")?,
    })
}

fn span(json: &Json<'_>) -> Result<Span, String> {
    let status = given(json, "status")
        .map(|status| Ok::<_, String>(Status { message: text(status, "message")?, code: number(status, "code")? }));
    Ok(Span {
        trace_id: hex(json, "traceId")?,
        span_id: hex(json, "spanId")?,
        parent_span_id: hex(json, "parentSpanId")?,
        name: text(json, "name")?,
        kind: number(json, "kind")?,
        start_time_unix_nano: number(json, "startTimeUnixNano")?,
        end_time_unix_nano: number(json, "endTimeUnixNano")?,
        attributes: attributes(json, "attributes")?,
        events: each(list(json, "events")?, event)?,
        status: status.transpose()?,
        ..Span::default()
    })
}

fn event(json: &Json<'_>) -> Result<Event, String> {
    Ok(Event {
        time_unix_nano: number(json, "timeUnixNano")?,
        name: text(json, "name")?,
        attributes: attributes(json, "attributes")?,
        ..Event::default()
    })
}

fn attributes(json: &Json<'_>, name: &str) -> Result<Vec<KeyValue>, String> {
    each(list(json, name)?, |pair| {
        let value = given(pair, "value").map(any).transpose()?;
        Ok(KeyValue { key: text(pair, "key")?, value, ..KeyValue::default() })
    })
}

fn any(json: &Json<'_>) -> Result<AnyValue, String> {
    let Json::Object(members) = json else { return Err(wrong("value", "an object", json)) };
    let Some((name, value)) = members.iter().find(|(name, value)| name.ends_with("Value") && *value != Json::Null)
    else {
        return Ok(AnyValue::default());
    };
    let value = match (&**name, value) {
        ("stringValue", Json::Str(text)) => Value::StringValue(text.clone().into_owned()),
        ("boolValue", Json::Bool(value)) => Value::BoolValue(*value),
        ("intValue", _) => Value::IntValue(number(json, name)?),
        ("doubleValue", _) => Value::DoubleValue(double(value)?),
        ("arrayValue", _) => Value::ArrayValue(ArrayValue { values: each(list(value, "values")?, any)? }),
        ("kvlistValue", _) => Value::KvlistValue(KeyValueList { values: attributes(value, "values")? }),
        ("bytesValue", Json::Str(text)) => {
            let bytes = STANDARD.decode(&**text).map_err(|_| wrong(name, "base64", value))?;
            Value::BytesValue(bytes)
        }
        ("stringValue" | "bytesValue", _) => return Err(wrong(name, "a string", value)),
        ("boolValue", _) => return Err(wrong(name, "a boolean", value)),
        _ => return Ok(AnyValue::default()),
    };
    Ok(AnyValue { value: Some(value) })
}

fn double(json: &Json<'_>) -> Result<f64, String> {
    let digits: &str = match json {
        Json::Float(digits) => digits,
        Json::Int(digits) | Json::Str(digits) => digits,
        other => return Err(wrong("doubleValue", "a number", other)),
    };
    digits.parse().map_err(|_| wrong("doubleValue", "a number", json))
}

fn each<'j, 'a, T>(
    items: &'j [Json<'a>],
    read: impl FnMut(&'j Json<'a>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    items.iter().map(read).collect()
}

/// Returns a member, unless it is null.
fn given<'j, 'a>(json: &'j Json<'a>, name: &str) -> Option<&'j Json<'a>> {
    json.get(name).filter(|value| **value != Json::Null)
}

fn list<'j, 'a>(json: &'j Json<'a>, name: &str) -> Result<&'j [Json<'a>], String> {
    match given(json, name) {
        None => Ok(&[]),
        Some(Json::Array(items)) => Ok(items),
        Some(other) => Err(wrong(name, "a list", other)),
    }
}

fn text(json: &Json<'_>, name: &str) -> Result<String, String> {
    match given(json, name) {
        None => Ok(String::new()),
        Some(Json::Str(text)) => Ok(text.clone().into_owned()),
        Some(other) => Err(wrong(name, "a string", other)),
    }
}

fn number<T: FromStr + Default>(json: &Json<'_>, name: &str) -> Result<T, String> {
    match given(json, name) {
        None => Ok(T::default()),
        Some(value @ (Json::Int(digits) | Json::Str(digits))) => {
            digits.parse().map_err(|_| wrong(name, "an integer that fits", value))
        }
        Some(other) => Err(wrong(name, "an integer", other)),
    }
}

fn hex(json: &Json<'_>, name: &str) -> Result<Vec<u8>, String> {
    let digits = text(json, name)?;
    let bytes = (0..digits.len()).step_by(2).map(|at| {
        let pair = digits.get(at..at + 2).filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u8::from_str_radix(pair, 16).ok()
    });
    bytes.collect::<Option<_>>().ok_or_else(|| format!("the body: `{name}` must be hexadecimal"))
}

fn wrong(name: &str, expected: &str, found: &Json<'_>) -> String {
    format!("the body: `{name}` must be {expected}, not {}", found.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A span in the words of the OTLP specification's JSON.
    const SPAN: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"refund-agent"}}]},"scopeSpans":[{"scope":{"name":"lib"},"schemaUrl":null,
        "spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"",
        "name":"execute_tool issue_credit","kind":1,"startTimeUnixNano":"1544712660000000000",
        "endTimeUnixNano":1544712661000000000,"status":{"code":2},"unknown":{"x":1.5},"links":null,"attributes":[
        {"key":"a","value":{"intValue":"-7"}},{"key":"b","value":{"doubleValue":0.1234567890123456}},
        {"key":"c","value":{"arrayValue":{}}},{"key":"d","value":{"kvlistValue":{"values":[
        {"key":"e","value":{"boolValue":true}}]}}},{"key":"f","value":{"bytesValue":"AQI="}},{"key":"g"},
        {"key":"h","value":{"doubleValue":"NaN"}}],
        "events":[{"timeUnixNano":"1544712660500000000","name":"n","attributes":[]}]}]}]}]}"#;

    #[test]
    fn json_and_protobuf_are_the_same_request() {
        let read = decode(Form::Json, SPAN.as_bytes()).expect("reads");
        let span = &read.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((span.trace_id.len(), span.span_id[0], span.parent_span_id.len()), (16, 0xee, 0));
        assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000);
        assert_eq!(span.end_time_unix_nano, 1_544_712_661_000_000_000);
        let value = |at: usize| span.attributes[at].value.as_ref().and_then(|value| value.value.clone());
        assert_eq!(value(0), Some(Value::IntValue(-7)));
        assert_eq!(value(1), Some(Value::DoubleValue(0.123_456_789_012_345_6)), "to the last digit");
        assert_eq!(value(2), Some(Value::ArrayValue(ArrayValue::default())));
        assert_eq!(value(4), Some(Value::BytesValue(vec![1, 2])));
        assert_eq!(value(5), None);
        assert!(matches!(value(6), Some(Value::DoubleValue(value)) if value.is_nan()));
        let mut read = read;
        read.resource_spans[0].scope_spans[0].spans[0].attributes.pop();
        assert_eq!(decode(Form::Protobuf, &read.encode_to_vec()).expect("reads"), read);
        for nothing in [(Form::Json, &b"{}"[..]), (Form::Protobuf, b"")] {
            assert_eq!(decode(nothing.0, nothing.1).expect("reads"), ExportTraceServiceRequest::default());
        }
    }

    #[test]
    fn a_faulty_body_is_named() {
        for (from, to, message) in [
            ("EEE19B7EC3C1B174", "EEE19B7EC3C1B17", "`spanId` must be hexadecimal"),
            ("EEE19B7EC3C1B174", "+EE19B7EC3C1B174", "`spanId` must be hexadecimal"),
            ("\"-7\"", "\"7.5\"", "`intValue` must be an integer that fits"),
            ("\"-7\"", "99999999999999999999", "`intValue` must be an integer that fits"),
            ("\"AQI=\"", "\"?\"", "`bytesValue` must be base64"),
            ("{\"arrayValue\":{}}", "[]", "`value` must be an object, not a list"),
            ("\"kind\":1", "\"kind\":\"SPAN_KIND_CLIENT\"", "`kind` must be an integer"),
            ("\"name\":\"n\"", "\"name\":1", "`name` must be a string, not an integer"),
        ] {
            let fault = decode(Form::Json, SPAN.replace(from, to).as_bytes()).expect_err(message);
            assert!(fault.contains(message), "{message}: {fault}");
        }
        for body in [&b"[]"[..], b"{", b"\xff"] {
            assert!(decode(Form::Json, body).is_err());
        }
        assert!(decode(Form::Protobuf, b"\x0a\x05x").is_err());
    }

    #[test]
    fn spans_are_counted_before_they_are_read() {
        let spans = vec![Span::default(); SPANS_MAX - 2];
        let scope = ScopeSpans { spans, ..ScopeSpans::default() };
        let mut group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let read = |group: &ResourceSpans| {
            let request = ExportTraceServiceRequest { resource_spans: vec![group.clone()] };
            decode(Form::Protobuf, &request.encode_to_vec()).map(|_| ())
        };
        assert!(read(&group).is_ok());
        group.scope_spans[0].spans.push(Span::default());
        assert!(read(&group).expect_err("too many").contains("more than 10000 spans"));
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#, "{},".repeat(SPANS_MAX));
        assert!(decode(Form::Json, json.as_bytes()).expect_err("too many").contains("more than 10000 spans"));
    }
}
