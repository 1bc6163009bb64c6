//! Spans of agents over OTLP/HTTP: what arrives, what is left out, and who may send.

use super::{by_role, gzip, no_rates};
use crate::http_support::{Ask, Got, Place, Way, open};
use crate::support::Db;
use decisiongraph_http::api::{ApiBounds, Rates};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Makes a span; number 1 is the root of its trace.
fn span(number: u8, name: &str, attributes: Vec<Value>) -> Value {
    let start = 1_785_000_000_000_000_000 + u64::from(number) * 1_000_000_000;
    json!({
        "traceId": TRACE, "spanId": format!("{number:016x}"),
        "parentSpanId": if number == 1 { String::new() } else { format!("{:016x}", 1) },
        "name": name, "kind": 1, "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + 1_000_000).to_string(), "attributes": attributes,
    })
}

fn operation(number: u8, name: &str, more: &[(&str, &str)]) -> Value {
    let more = more.iter().map(|(key, value)| text(key, value));
    span(number, name, [text("gen_ai.operation.name", name)].into_iter().chain(more).collect())
}

fn agent() -> Value {
    operation(1, "invoke_agent", &[("gen_ai.agent.name", "refund-bot")])
}

fn tool(number: u8) -> Value {
    operation(number, "execute_tool", &[("gen_ai.tool.name", "issue_credit")])
}

fn export(service: &str, spans: &[Value]) -> Value {
    let resource = json!({ "attributes": [text("service.name", service)] });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": spans }] }] })
}

impl Place {
    /// Exports spans of the service `refund-agent`. Returns how many are rejected, and the message.
    async fn export(&self, spans: &[Value]) -> (u64, String) {
        told(&self.post("appender", "/v1/traces", &export("refund-agent", spans)).await)
    }

    /// Sends a request, and reads an answer of any form.
    async fn raw(&self, identity: Option<&str>, ask: Ask<'_>) -> (u16, HeaderMap, Vec<u8>) {
        let token = identity.map(|name| self.tokens[name].as_str());
        let answer = open(self.connect(Way::Tcp).await, ask, token).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, headers, body.to_vec())
    }

    /// Lists the events of the trace: number and type.
    async fn events(&self) -> Vec<(i64, String)> {
        let got = self.get("reader", &format!("/api/v1/traces/{TRACE}?wait_ms=10000")).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let events = got.json()["data"]["events"].as_array().expect("events").clone();
        let event = |event: &Value| {
            (event["trace_seq"].as_i64().expect("a number"), event["event_type"].as_str().expect("a type").to_owned())
        };
        events.iter().map(event).collect()
    }
}

fn told(got: &Got) -> (u64, String) {
    assert_eq!((got.status, got.header("content-type")), (200, JSON), "{}", got.text);
    let partial = &got.json()["partialSuccess"];
    let rejected = partial["rejectedSpans"].as_str().unwrap_or("0").parse().expect("a number");
    (rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_in_any_order_become_one_trace_without_a_gap_and_each_of_them_once() {
    for db in [Db::sqlite().await, Db::postgres().await] {
        let place = Place::start(db, &by_role(), no_rates()).await;
        let read = operation(3, "retrieval", &[("gen_ai.data_source.id", "policies")]);
        // Children first, each exporter for itself, at the same time.
        let (one, other) = (&[tool(2)], std::slice::from_ref(&read));
        let (one, other) = tokio::join!(place.export(one), place.export(other));
        assert_eq!((one.0, other.0), (0, 0), "{one:?} {other:?}");
        let (rejected, message) = place.export(&[operation(4, "chat", &[]), tool(5), agent()]).await;
        assert_eq!(rejected, 1, "{message}");
        assert!(message.contains("operation_not_mapped 1, such as: `gen_ai.operation.name` is `chat`"), "{message}");
        let events = place.events().await;
        let numbers: Vec<i64> = events.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>(), "{events:?}");
        let types: Vec<&str> = events.iter().map(|(_, word)| word.as_str()).collect();
        assert_eq!((types[0], types[7]), ("TraceStarted", "TraceFinished"));
        for (word, count) in
            [("ActionProposed", 2), ("ActionCommitted", 2), ("InputObserved", 1), ("EntityObserved", 1)]
        {
            assert_eq!(types.iter().filter(|other| **other == word).count(), count, "{word} in {types:?}");
        }
        // The same spans again, in other requests than before: nothing is new, and nothing is refused.
        for spans in [vec![agent()], vec![read, tool(2)], vec![tool(5), agent(), tool(2)]] {
            assert_eq!(place.export(&spans).await, (0, String::new()));
        }
        assert_eq!(place.events().await, events);
        // A span that comes behind the end is named, and the trace stays as it is.
        let (rejected, message) = place.export(&[tool(6)]).await;
        assert_eq!(rejected, 1, "{message}");
        assert!(message.contains("conflict 1, such as: the trace is finished"), "{message}");
        assert_eq!(place.events().await, events);
        let around = format!("/api/v1/graph/context?node_type=trace&node_id={TRACE}&wait_ms=10000");
        let graph = place.get("reader", &around).await.json();
        let nodes: Vec<&str> = graph["data"]["nodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .filter_map(|node| node["node_id"].as_str())
            .collect();
        for node in [format!("action:{TRACE}/0000000000000002"), format!("input:{TRACE}/0000000000000003")] {
            assert!(nodes.contains(&node.as_str()), "{node} in {nodes:?}");
        }
        assert!(nodes.contains(&"entity:agent:refund-bot"), "{nodes:?}");
        place.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_no_agent_ends_the_trace_of_one_and_starts_none() {
    let place = Place::start(Db::sqlite().await, &by_role(), no_rates()).await;
    let http = span(1, "POST /refund", vec![text("http.request.method", "POST")]);
    let (rejected, message) = place.export(std::slice::from_ref(&http)).await;
    assert_eq!(rejected, 1);
    assert!(message.contains("not_genai 1"), "{message}");
    assert_eq!(place.get("reader", &format!("/api/v1/traces/{TRACE}")).await.status, 404);
    assert_eq!(place.export(&[tool(2)]).await.0, 0);
    assert_eq!(place.export(&[http]).await, (0, String::new()));
    let types: Vec<String> = place.events().await.into_iter().map(|(_, word)| word).collect();
    assert_eq!(types, ["TraceStarted", "ActionProposed", "ActionCommitted", "TraceFinished"]);
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_is_bound_like_every_producer_and_refused_in_its_own_terms() {
    let mut identities = by_role();
    identities["bound"] = json!({ "roles": ["appender"], "tenants": ["default"], "producers": ["billing"] });
    let bounds = ApiBounds { rates: Rates { append: 60, ..no_rates().rates }, ..ApiBounds::default() };
    let place = Place::start(Db::sqlite().await, &identities, bounds).await;
    let body = export("refund-agent", &[agent()]).to_string();
    let (rejected, message) = told(&place.post("bound", "/v1/traces", &export("refund-agent", &[agent()])).await);
    assert!(rejected == 1 && message.contains("forbidden 1"), "{message}");
    assert_eq!(place.get("reader", &format!("/api/v1/traces/{TRACE}")).await.status, 404);
    let ask = || Ask::post("/v1/traces", JSON, body.as_bytes());
    let large = vec![b' '; 9 * 1024 * 1024];
    for (status, word, identity, ask) in [
        (401, "unauthorized", None, ask()),
        (403, "forbidden", Some("reader"), ask()),
        (403, "forbidden", Some("appender"), ask().tenant(Some("other"))),
        (400, "invalid_argument", Some("appender"), ask().tenant(None)),
        (400, "invalid_argument", Some("appender"), Ask::post("/v1/traces", JSON, b"{")),
        (400, "invalid_argument", Some("appender"), Ask::post("/v1/traces", PROTOBUF, b"\x0a\xff")),
        (413, "payload_too_large", Some("appender"), Ask::post("/v1/traces", JSON, &large)),
        (415, "unsupported_media_type", Some("appender"), Ask::post("/v1/traces", "text/plain", b"{}")),
    ] {
        let kind = if ask.headers.iter().any(|(_, value)| value == JSON) { JSON } else { PROTOBUF };
        let (got, headers, body) = place.raw(identity, ask).await;
        let told = String::from_utf8_lossy(&body);
        assert_eq!((got, headers["content-type"].as_bytes()), (status, kind.as_bytes()), "{word}: {told}");
        assert!(told.contains(&format!("{word}: ")), "{told}");
        assert!(told.starts_with(if kind == JSON { "{\"message\":" } else { "\x12" }), "{told}");
    }
    let packed = gzip(body.as_bytes());
    let got =
        place.send(Some("admin"), Ask::post("/v1/traces", JSON, &packed).header("content-encoding", "gzip")).await;
    assert_eq!(told(&got), (0, String::new()));
    assert_eq!(place.events().await.len(), 3);
    let mut refused = None;
    for _ in 0..20 {
        let (status, headers, body) = place.raw(Some("admin"), Ask::post("/v1/traces", PROTOBUF, b"")).await;
        if status != 200 {
            refused = Some((status, headers));
            break;
        }
        assert!(body.is_empty(), "an export without spans succeeds");
    }
    let (status, headers) = refused.expect("over the rate");
    assert_eq!((status, headers["content-type"].as_bytes()), (429, PROTOBUF.as_bytes()));
    assert!(headers.contains_key("retry-after"), "{headers:?}");
    place.stop().await;
}
