//! Exchanges as data: each is sent, and its answer compared.

use super::{Ask, Got, Message, Messages, Place, Way};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// Texts that earlier exchanges of a chain captured.
pub type Captured = BTreeMap<String, String>;

/// Sends an example and lists the differences between its answer and what is expected.
pub async fn differences(place: &Place, example: &Value, captured: &mut Captured, way: Way) -> Vec<String> {
    let request = &example["request"];
    let path = filled(request["path"].as_str().expect("a path"), captured);
    let body = match &request["body"] {
        Value::Null => request["body_text"].as_str().unwrap_or_default().to_owned(),
        body => filled(&body.to_string(), captured),
    };
    let body = match request["body_ndjson"].as_array() {
        Some(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
        None => body,
    };
    let mut ask = Ask {
        method: request["method"].as_str().expect("a method"),
        path: &path,
        headers: Vec::new(),
        body: body.as_bytes(),
    };
    for (name, value) in request["headers"].as_object().expect("headers") {
        ask.headers.push((name, filled(value.as_str().expect("text"), captured)));
    }
    let identity = example["as"].as_str();
    let expected = &example["expect"];
    if expected["sse"].is_array() {
        return stream(place, way, ask, identity, expected).await;
    }
    let end = Instant::now() + Duration::from_secs(example["repeat_until"]["within_s"].as_u64().unwrap_or(0));
    let got = loop {
        let got = place.send_by(way, identity, ask.clone()).await;
        let until = &example["repeat_until"];
        let pointer = until["pointer"].as_str();
        let reached = pointer.is_none_or(|pointer| got.json().pointer(pointer) == Some(&until["equals"]));
        if reached || Instant::now() > end {
            break got;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut found = compared(&got, expected, captured);
    if let Some(captures) = example["capture"].as_object() {
        for (name, place) in captures {
            let place = place.as_str().expect("a place");
            let value = match place.strip_prefix('@') {
                Some(header) => Some(got.header(header).to_owned()),
                None => got.json().pointer(place).map(|value| value.as_str().map_or(value.to_string(), str::to_owned)),
            };
            match value {
                Some(value) => drop(captured.insert(name.clone(), value)),
                None => found.push(format!("nothing at {place} to capture")),
            }
        }
    }
    if !found.is_empty() {
        found.push(format!("answer: {} {}", got.status, got.text));
    }
    found
}

fn filled(text: &str, captured: &Captured) -> String {
    captured.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn compared(got: &Got, expected: &Value, captured: &Captured) -> Vec<String> {
    let mut found = Vec::new();
    if expected["status"] != got.status {
        found.push(format!("status {} instead of {}", got.status, expected["status"]));
    }
    for (name, wanted) in expected["headers"].as_object().into_iter().flatten() {
        let wanted = Value::String(filled(wanted.as_str().expect("text"), captured));
        fits(&Value::String(got.header(name).to_owned()), &wanted, &format!("header {name}"), &mut found);
    }
    if expected["body"].is_object() {
        let wanted: Value = serde_json::from_str(&filled(&expected["body"].to_string(), captured)).expect("JSON");
        match serde_json::from_str(&got.text) {
            Ok(body) => fits(&body, &wanted, "", &mut found),
            Err(error) => found.push(format!("no JSON: {error}")),
        }
    }
    if let Some(lines) = expected["ndjson"].as_array() {
        let read: Vec<Value> = got.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        fits(&Value::Array(read), &Value::Array(lines.clone()), "lines", &mut found);
    }
    if expected["empty"] == true && !got.text.is_empty() {
        found.push("the body is not empty".to_owned());
    }
    for text in expected["body_lacks"].as_array().into_iter().flatten() {
        if got.text.contains(text.as_str().expect("text")) {
            found.push(format!("the answer holds {text}"));
        }
    }
    found
}

/// Compares a stream's first messages.
async fn stream(place: &Place, way: Way, ask: Ask<'_>, identity: Option<&str>, expected: &Value) -> Vec<String> {
    let response = super::open(place.connect(way).await, ask, identity.map(|name| place.tokens[name].as_str())).await;
    let mut found = Vec::new();
    if expected["status"] != response.status().as_u16() {
        found.push(format!("status {}", response.status()));
        return found;
    }
    let mut messages = Messages::of(response);
    for (number, wanted) in expected["sse"].as_array().expect("messages").iter().enumerate() {
        let Some(Message { event, id, data }) = messages.next().await else {
            found.push(format!("the stream ended before message {number}"));
            break;
        };
        let got = serde_json::json!({ "event": event, "id": id, "data": data });
        fits(&got, wanted, &format!("message {number}"), &mut found);
    }
    found
}

/// Compares a value with what is expected of it. Texts that begin with `$` are patterns.
fn fits(got: &Value, wanted: &Value, at: &str, found: &mut Vec<String>) {
    let mut differs = |what: String| found.push(format!("{at}: {what}"));
    match wanted {
        Value::String(pattern) if pattern.starts_with('$') => {
            let text = got.as_str();
            let matches = match pattern.as_str() {
                "$any" => true,
                "$null" => got.is_null(),
                "$int" => got.is_i64() || got.is_u64(),
                "$string" => text.is_some_and(|text| !text.is_empty()),
                "$uuid" => text.is_some_and(|text| text.parse::<uuid::Uuid>().is_ok()),
                "$time" => text.is_some_and(decisiongraph_projections::rfc3339::is_time),
                pattern => match (pattern.strip_prefix("$n:"), pattern.strip_prefix("$re:")) {
                    (Some(count), _) => got.as_array().is_some_and(|list| list.len().to_string() == count),
                    (_, Some(regex)) => text.is_some_and(|text| regex_of(regex).is_match(text)),
                    _ => false,
                },
            };
            if !matches {
                differs(format!("{got} instead of {pattern}"));
            }
        }
        Value::Object(members) if members.contains_key("$has") => {
            for (number, wanted) in members["$has"].as_array().expect("a list").iter().enumerate() {
                let fitting = got.as_array().into_iter().flatten().any(|got| {
                    let mut inner = Vec::new();
                    fits(got, wanted, "", &mut inner);
                    inner.is_empty()
                });
                if !fitting {
                    differs(format!("element {number} of $has is missing: {wanted}"));
                }
            }
        }
        Value::Object(members) => match got {
            Value::Object(own) => {
                for (name, wanted) in members {
                    match own.get(name) {
                        Some(got) => fits(got, wanted, &format!("{at}/{name}"), found),
                        None => found.push(format!("{at}/{name}: missing")),
                    }
                }
            }
            _ => differs(format!("{got} is no object")),
        },
        Value::Array(list) => match got {
            Value::Array(own) if own.len() == list.len() => {
                for (number, (got, wanted)) in own.iter().zip(list).enumerate() {
                    fits(got, wanted, &format!("{at}/{number}"), found);
                }
            }
            _ => differs(format!("{got} instead of a list of {}", list.len())),
        },
        _ if got == wanted => {}
        _ => differs(format!("{got} instead of {wanted}")),
    }
}

fn regex_of(text: &str) -> regex::Regex {
    regex::Regex::new(text).expect("a pattern")
}

/// Connects to the Unix socket, which needs no token.
pub async fn socket(place: &Place) -> UnixStream {
    UnixStream::connect(place.server.socket().expect("a socket")).await.expect("connects")
}
