//! The HTTP interface of a node: its exchanges as data, who may do what, events in and out.

mod http_support;
mod node_support;
#[path = "http_api/operators.rs"]
mod operators;
#[path = "http_api/seal.rs"]
mod seal;
#[path = "http_api/spans.rs"]
mod spans;
mod support;

use decisiongraph_http::api::{ApiBounds, Needs, Place as About, ROUTES, Rates, Takes};
use decisiongraph_http::identities::Role;
use futures_util::StreamExt as _;
use http_support::examples::{Captured, differences};
use http_support::{Ask, Certificate, Messages, PATIENCE, Place, Way, open};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::Db;
use tokio::net::TcpStream;

/// Returns bounds without rates: a test asks faster than a person.
fn no_rates() -> ApiBounds {
    ApiBounds { rates: Rates { read: 0, append: 0, events: 0, admin: 0 }, ..ApiBounds::default() }
}

/// Returns one identity per role, for tenant `default`; `everywhere` is an administrator of every tenant.
fn by_role() -> Value {
    let mut identities = serde_json::Map::new();
    for role in Role::ALL {
        identities.insert(role.as_str().to_owned(), json!({ "roles": [role], "tenants": ["default"] }));
    }
    identities.insert("everywhere".to_owned(), json!({ "roles": ["admin"], "tenants": ["*"] }));
    identities.insert("elsewhere".to_owned(), json!({ "roles": ["admin"], "tenants": ["other"] }));
    Value::Object(identities)
}

fn event(trace: &str, kind: &str, key: &str, payload: Value) -> Value {
    json!({
        "trace_id": trace, "event_type": kind, "occurred_at": "2026-07-01T00:00:00Z",
        "source": { "producer_id": "p", "system": "s" }, "actor": { "actor_type": "agent", "actor_id": "bot" },
        "idempotency_key": key, "payload": payload,
    })
}

fn started(trace: &str) -> Value {
    let entity = json!({ "entity_type": "account", "entity_id": "e", "system": "crm" });
    event(
        trace,
        "TraceStarted",
        &format!("{trace}:start"),
        json!({ "workflow": "w", "title": "t", "primary_entity": entity }),
    )
}

fn observed(trace: &str, key: &str) -> Value {
    let entity = json!({ "entity_type": "person", "entity_id": key });
    event(trace, "EntityObserved", key, json!({ "entity": entity, "role": "related", "facts": [] }))
}

/// Exchanges at the same time, each with a node of its own if it changes something.
const AT_ONCE: usize = 2;

/// The exchanges of the contract, where they are at hand, over TCP, TLS and the socket. Those that only read share a
/// node; every other one, or chain, gets a node of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_exchanges_of_the_contract_are_answered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/http-api-examples.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("the exchanges are not at hand");
        return;
    };
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (about, examples) = lines.split_first().expect("a first line");
    let by_id: BTreeMap<&str, &Value> =
        examples.iter().map(|example| (example["id"].as_str().expect("an id"), example)).collect();
    let only = std::env::var("EXAMPLE").ok();
    let reads = |example: &Value| example["request"]["method"] == "GET";
    let fresh = async |backend: &str| {
        let db = match backend {
            "sqlite" => Db::sqlite().await,
            _ => Db::postgres().await,
        };
        Place::filled(db, &about["identities"], no_rates()).await.and_over_tls().await
    };
    let (by_id, fresh) = (&by_id, &fresh);
    let mut found = Vec::new();
    for backend in ["sqlite", "postgres"] {
        let ours = fresh(backend).await;
        let shared = &ours;
        let asked = examples.iter().filter(|example| only.as_deref().is_none_or(|only| example["id"] == only));
        // Without a token the socket is an identity: such an exchange is one of TCP.
        let ways = |example: &Value| match example["as"].is_null() {
            true => &[Way::Tcp, Way::Tls][..],
            false => &[Way::Tcp, Way::Tls, Way::Socket],
        };
        let each = asked.flat_map(|example| ways(example).iter().map(move |way| (example, *way)));
        let differing = futures_util::stream::iter(each).map(|(example, way)| async move {
            let id = example["id"].as_str().expect("an id");
            let chain: Vec<&str> =
                example["after"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let alone = !reads(example) || chain.iter().any(|id| !reads(by_id[id]));
            let own = match alone {
                true => Some(fresh(backend).await),
                false => None,
            };
            let place = own.as_ref().unwrap_or(shared);
            let mut captured = Captured::new();
            for before in &chain {
                differences(place, by_id[before], &mut captured, way).await;
            }
            let differing = differences(place, example, &mut captured, way).await;
            if let Some(own) = own {
                own.stop().await;
            }
            differing.into_iter().map(|text| format!("{backend} {way:?} {id}: {text}")).collect::<Vec<_>>()
        });
        found.extend(differing.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.concat());
        ours.stop().await;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Path of a route with ids in it that nothing has.
fn concrete(path: &str) -> String {
    path.replace("{id}", "0192f0c4-7d1e-7c3a-9b52-6a1f00000009").replace("{name}", "nobody")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_right_and_its_tenant() {
    let place = Place::filled(Db::sqlite().await, &by_role(), no_rates()).await;
    let mut seen = BTreeSet::new();
    for route in ROUTES {
        let path = concrete(route.path);
        let kind = match route.takes {
            Takes::Lines(..) => "application/x-ndjson",
            _ => "application/json",
        };
        let ask = || match route.changes() {
            true => Ask::post(&path, kind, b"{}"),
            false => Ask::get(&path),
        };
        if route.needs == Needs::Nothing {
            assert_eq!(place.send(None, ask()).await.status, 200, "{path}");
            continue;
        }
        let got = place.send(None, ask()).await;
        assert_eq!(got.status, 401, "{path} without a token");
        match route.takes {
            Takes::Otlp(_) => assert!(got.text.contains("\"unauthorized: "), "{path}: {}", got.text),
            _ => assert_eq!(got.code(), "unauthorized", "{path} without a token"),
        }
        if route.word.ends_with("_stream") {
            continue;
        }
        for role in Role::ALL {
            let name = role.as_str();
            let got = place.send(Some(name), ask()).await;
            let may = match route.needs {
                Needs::Right(right) => role.rights().contains(&right),
                _ => true,
            } && route.place != About::NodeWide;
            let refused = got.status == 403;
            // Where the right is that of the mode, the handler decides it.
            if let Needs::Right(_) = route.needs {
                assert_eq!(refused, !may, "{path} as {name}: {} {}", got.status, got.text);
                seen.insert((route.word, name, refused));
            }
            if route.place == About::Tenant {
                let foreign = place.send(Some(name), ask().tenant(Some("other"))).await;
                assert_eq!(foreign.status, 403, "{path} as {name} of another tenant");
                let none = place.send(Some(name), ask().tenant(None)).await;
                assert!(none.status == 400 || refused, "{path} as {name} without a tenant: {}", none.status);
            }
            if route.place == About::Node {
                let all = place.send(Some(name), ask().tenant(None)).await;
                assert_eq!(all.status, 403, "{path} as {name} of all tenants");
            }
        }
        let got = place.send(Some("everywhere"), ask()).await;
        assert!(
            got.status != 403 && got.status != 401 && got.status < 500 || got.status == 503,
            "{path}: {}",
            got.text
        );
        assert!(!got.header("x-request-id").is_empty() && got.header("x-content-type-options") == "nosniff");
    }
    assert!(seen.len() > 100, "{}", seen.len());
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_id_is_answered_as_an_unknown_one() {
    let place = Place::filled(Db::sqlite().await, &by_role(), no_rates()).await;
    let started = place.post("operator", "/api/v1/runs", &json!({ "mode": "catch_up", "projection": "all" })).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let run = started.json()["data"]["run"]["run_id"].as_str().expect("an id").to_owned();
    let unknown = uuid::Uuid::now_v7().to_string();
    let other = async |path: String| {
        let got = place.send(Some("elsewhere"), Ask::get(&path).tenant(Some("other"))).await;
        let mut json = got.json();
        json["request_id"] = Value::Null;
        (got.status, json.to_string())
    };
    for path in ["/api/v1/runs/ID", "/api/v1/admin/replays/ID"] {
        let (foreign, none) = (other(path.replace("ID", &run)).await, other(path.replace("ID", &unknown)).await);
        assert_eq!(foreign.0, 404, "{path}: {}", foreign.1);
        assert_eq!(foreign.1.replace(&run, "ID"), none.1.replace(&unknown, "ID"), "{path}");
    }
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_that_let_the_server_number_leave_no_gap() {
    let (producers, each) = if node_support::soak() { (64, 100) } else { (16, 12) };
    for db in Db::both().await {
        let place = Arc::new(Place::start(db, &by_role(), no_rates()).await);
        assert_eq!(place.post("appender", "/api/v1/events", &started("t")).await.status, 201);
        let tasks = (0..producers).map(|producer| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                for number in 0..each {
                    let got =
                        place.post("appender", "/api/v1/events", &observed("t", &format!("{producer}:{number}"))).await;
                    assert_eq!(got.status, 201, "{}", got.text);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("appends");
        }
        place.current().await;
        let got = place.get("reader", "/api/v1/traces/t").await;
        let numbers: Vec<i64> = got.json()["data"]["events"]
            .as_array()
            .expect("events")
            .iter()
            .filter_map(|event| event["trace_seq"].as_i64())
            .collect();
        assert_eq!(numbers, (0..=producers as i64 * each as i64).collect::<Vec<_>>());
        Arc::into_inner(place).expect("the last").stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_every_event_in_order_while_appenders_overlap() {
    for db in Db::both().await {
        let place = Arc::new(Place::start(db, &by_role(), no_rates()).await);
        assert_eq!(place.post("appender", "/api/v1/events", &started("first")).await.status, 201);
        let stream = TcpStream::connect(place.address()).await.expect("connects");
        let ask = Ask::get("/api/v1/events/stream?since_log_seq=0");
        let mut messages = Messages::of(open(stream, ask, Some(&place.tokens["reader"])).await);
        let (appenders, each) = (6, 20);
        let tasks = (0..appenders).map(|appender| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                for number in 0..each {
                    let trace = format!("t{appender}-{number}");
                    let lines = format!("{}\n{}\n", started(&trace), observed(&trace, &format!("{trace}:1")));
                    let ask = Ask::post("/api/v1/events/batch", "application/x-ndjson", lines.as_bytes());
                    let got = place.send(Some("appender"), ask).await;
                    assert_eq!(got.status, 200, "{}", got.text);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut positions = Vec::new();
        let mut ids = BTreeSet::new();
        while positions.len() < 1 + appenders * each * 2 {
            let message = messages.next().await.expect("a message");
            if message.event == "event" {
                positions.push(message.data["log_seq"].as_i64().expect("a position"));
                ids.insert(message.data["event_id"].as_str().expect("an id").to_owned());
            }
        }
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(ids.len(), positions.len(), "each once");
        for task in tasks {
            task.await.expect("appends");
        }
        drop(messages);
        Arc::into_inner(place).expect("the last").stop().await;
    }
}

/// A stream holds memory for the page that it sends, and not for those before it: otherwise it would end, and keep the
/// node's other readers waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_the_memory_of_its_pages_back() {
    let place = Place::start(Db::sqlite().await, &by_role(), no_rates()).await;
    assert_eq!(place.post("appender", "/api/v1/events", &started("first")).await.status, 201);
    let ask = Ask::get("/api/v1/events/stream?since_log_seq=0");
    let answer = open(place.connect(Way::Tcp).await, ask, Some(&place.tokens["reader"])).await;
    assert_eq!(answer.status(), 200);
    let mut messages = Messages::of(answer);
    for number in 0..100 {
        let trace = format!("t{number}");
        assert_eq!(place.post("appender", "/api/v1/events", &started(&trace)).await.status, 201);
        loop {
            let message = messages.next().await.unwrap_or_else(|| panic!("the stream ended after {number} events"));
            assert_ne!(message.event, "bye", "after {number} events: {message:?}");
            if message.data["trace_id"] == trace {
                break;
            }
        }
    }
    let got = place.get("reader", "/api/v1/events?limit=1").await;
    assert_eq!(got.status, 200, "{}", got.text);
    drop(messages);
    place.stop().await;
}

/// An appender that stays open holds up the mark, and so the stream and the list: no reader steps over its event.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_held_holds_the_readers() {
    let place = Place::start(Db::postgres().await, &by_role(), no_rates()).await;
    assert_eq!(place.post("appender", "/api/v1/events", &started("first")).await.status, 201);
    place.current().await;
    let (holder, connection) = tokio_postgres::connect(&place.db.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE dg_event_log IN ROW EXCLUSIVE MODE").await.expect("locks");
    assert_eq!(place.post("appender", "/api/v1/events", &started("second")).await.status, 201);
    let got = place.get("reader", "/api/v1/events?wait_ms=500&since_log_seq=1").await;
    assert_eq!(got.json()["data"]["events"], json!([]), "behind the mark nothing is read: {}", got.text);
    holder.batch_execute("COMMIT").await.expect("ends");
    let got = place.get("reader", "/api/v1/events?wait_ms=10000&since_log_seq=1").await;
    assert_eq!(got.json()["data"]["events"][0]["trace_id"], "second", "{}", got.text);
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_bad_requests_are_refused_by_name_and_others_are_served() {
    let place = Place::start(Db::sqlite().await, &by_role(), no_rates()).await;
    let bad = async |ask: Ask<'_>| {
        let got = place.send(Some("appender"), ask).await;
        (got.status, got.code())
    };
    let json = "application/json";
    let large = vec![b' '; 5 * 1024 * 1024];
    assert_eq!(bad(Ask::post("/api/v1/events", json, &large)).await, (413, "payload_too_large".to_owned()));
    let bytes = [b'"', 0xff, b'"'];
    assert_eq!(bad(Ask::post("/api/v1/events", json, &bytes)).await.0, 400);
    assert_eq!(bad(Ask::post("/api/v1/events", json, b"[]")).await.0, 400);
    assert_eq!(bad(Ask::post("/api/v1/events", "text/plain", b"{}")).await.0, 415);
    let packed = Ask::post("/api/v1/events", json, b"{}").header("content-encoding", "br");
    assert_eq!(bad(packed).await, (415, "unsupported_media_type".to_owned()));
    let torn = Ask::post("/api/v1/events", json, b"no gzip").header("content-encoding", "gzip");
    assert_eq!(bad(torn).await, (400, "invalid_argument".to_owned()));
    assert_eq!(bad(Ask::get("/api/v1/traces/%ff")).await.0, 400);
    assert_eq!(bad(Ask::get("/api/v1/traces/t").header("x-request-id", "a b")).await.0, 403);
    let secret = "dg_00000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let ask = Ask::get("/api/v1/whoami").header("authorization", &format!("Bearer {secret}"));
    let got = place.send(None, ask).await;
    assert_eq!((got.status, got.header("www-authenticate")), (401, "Bearer"));
    assert!(!got.text.contains(secret));
    // A bomb: a few bytes that unpack to more than a batch may have.
    let bomb = gzip(&vec![b'\n'; 80 * 1024 * 1024]);
    assert!(bomb.len() < 200 * 1024);
    let ask = Ask::post("/api/v1/events/batch", "application/x-ndjson", &bomb).header("content-encoding", "gzip");
    assert_eq!(bad(ask).await, (413, "payload_too_large".to_owned()));
    // Connections that send nothing, and one that sends its head slowly.
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(TcpStream::connect(place.address()).await.expect("connects"));
    }
    let got = tokio::time::timeout(Duration::from_secs(5), place.get("reader", "/api/v1/whoami")).await;
    assert_eq!(got.expect("served meanwhile").status, 200);
    drop(idle);
    let got = place.send_locally(None, Ask::get("/api/v1/whoami")).await;
    assert_eq!(got.json()["data"]["name"], "local", "the socket is a credential: {}", got.text);
    place.stop().await;
}

/// TLS 1.2 and 1.3 without a client's certificate.
#[tokio::test(flavor = "multi_thread")]
async fn the_interface_is_served_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Certificate::make(folder.path());
    let place = Place::start_with(Db::sqlite().await, &by_role(), no_rates(), Some(made.server())).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = TcpStream::connect(place.address()).await.expect("connects");
        let name = "localhost".try_into().expect("a name");
        let stream = made.client(&[version]).connect(name, stream).await.expect("a handshake");
        let got = http_support::exchange(stream, Ask::get("/api/v1/whoami"), Some(&place.tokens["reader"])).await;
        assert_eq!((got.status, got.json()["data"]["name"].as_str()), (200, Some("reader")), "{}", got.text);
        assert!(got.header("strict-transport-security").starts_with("max-age"));
    }
    assert!(place.server.url().expect("a URL").starts_with("https://"));
    place.stop().await;
}

/// The caller's answer is confirmed only while nothing of the log is missing in it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_confirmed_when_the_log_has_gone_on_without_its_projection() {
    for db in Db::both().await {
        let place = Place::start(db, &by_role(), no_rates()).await;
        assert_eq!(place.post("appender", "/api/v1/events", &started("w")).await.status, 201);
        place.current().await;
        let path = "/api/v1/traces/w?allow_stale=true&wait_ms=0";
        let first = place.get("reader", path).await;
        let tag = first.header("etag").to_owned();
        assert!(first.status == 200 && !tag.is_empty(), "{}", first.text);
        let again = || Ask::get(path).header("if-none-match", &tag);
        assert_eq!(place.send(Some("reader"), again()).await.status, 304);
        for projection in ["trace_summary", "context_graph", "precedent_index"] {
            let pause = json!({ "projection": projection, "reason": "a test" });
            let got = place.post("operator", "/api/v1/scopes/pause", &pause).await;
            assert_eq!(got.status, 200, "{}", got.text);
        }
        assert_eq!(place.post("appender", "/api/v1/events", &observed("w", "k")).await.status, 201);
        let got = place.send(Some("reader"), again()).await;
        assert_eq!((got.status, got.header("etag")), (200, ""), "{}", got.text);
        assert_eq!(got.json()["data"]["events"].as_array().map(Vec::len), Some(2), "{}", got.text);
        place.stop().await;
    }
}

/// Operators follow a job to its end, and see the node, without asking again.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_and_the_node_are_followed_by_streams() {
    let place = Place::filled(Db::sqlite().await, &by_role(), no_rates()).await;
    let follow = async |name: &str, path: &str| {
        let stream = place.connect(Way::Tcp).await;
        open(stream, Ask::get(path).header("accept", "text/event-stream"), Some(&place.tokens[name])).await
    };
    let asked = json!({ "mode": "rebuild", "projection": "all", "reason": "a test" });
    let started = place.post("operator", "/api/v1/runs", &asked).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let run = started.json()["data"]["run"]["run_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/runs/{run}/stream");
    let mut messages = Messages::of(follow("operator", &path).await);
    let mut last = None;
    while let Some(message) = messages.next().await {
        assert!(["progress", "end"].contains(&message.event.as_str()), "{message:?}");
        last = Some(message);
    }
    let last = last.expect("an end");
    assert_eq!((last.event.as_str(), &last.data["run"]["state"]), ("end", &json!("completed")), "{last:?}");
    assert!(last.data["report"].is_object(), "{last:?}");
    // The job of another tenant is none.
    let stream = place.connect(Way::Tcp).await;
    let ask = Ask::get(&path).tenant(Some("other"));
    assert_eq!(open(stream, ask, Some(&place.tokens["elsewhere"])).await.status(), 404);

    let mut messages = Messages::of(follow("everywhere", "/api/v1/node/stream?interval_ms=500&tree=true").await);
    for _ in 0..2 {
        let message = messages.next().await.expect("a snapshot");
        assert_eq!(message.event, "snapshot");
        assert!(message.data["node"].is_object() && message.data["actors"][0].is_object(), "{message:?}");
        assert_eq!(message.data["status"]["scopes"].as_array().map(Vec::len), Some(3));
    }
    drop(messages);
    assert_eq!(place.get("everywhere", "/api/v1/node/stream?interval_ms=1").await.status, 400);
    assert_eq!(place.get("operator", "/api/v1/node/stream").await.status, 403, "not every tenant");
    place.stop().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).expect("packs");
    out.finish().expect("packs")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appender_is_bound_to_its_producers_and_its_tenant() {
    let mut identities = by_role();
    identities["bound"] = json!({ "roles": ["appender"], "tenants": ["default"], "producers": ["p"] });
    identities["other"] = json!({ "roles": ["appender"], "tenants": ["default"], "producers": ["q"] });
    let place = Place::start(Db::sqlite().await, &identities, no_rates()).await;
    assert_eq!(place.post("bound", "/api/v1/events", &started("a")).await.status, 201);
    let got = place.post("other", "/api/v1/events", &started("b")).await;
    assert_eq!((got.status, got.code().as_str()), (403, "forbidden"));
    let mut foreign = started("c");
    foreign["tenant_id"] = json!("other");
    assert_eq!(place.post("bound", "/api/v1/events", &foreign).await.status, 400);
    let lines = format!("{}\n{}\n", started("d"), foreign);
    let ask = Ask::post("/api/v1/events/batch", "application/x-ndjson", lines.as_bytes());
    let got = place.send(Some("bound"), ask).await;
    let read: Vec<Value> = got.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&read[0]["verdict"], &read[1]["verdict"]), (&json!("accepted"), &json!("refused")), "{}", got.text);
    assert_eq!(read[2]["summary"]["lines"], 2);
    // A member that stands twice is read as the append reads it.
    let text = started("e").to_string();
    for (name, twice) in [
        ("bound", text.replacen('{', r#"{"tenant_id":"default","tenant_id":"other","#, 1)),
        ("bound", text.replacen('{', r#"{"tenant_id":"other","tenant_id":"other","#, 1)),
        ("other", text.replacen('{', r#"{"source":{"producer_id":"q","system":"s"},"#, 1)),
    ] {
        let got = place.send(Some(name), Ask::post("/api/v1/events", "application/json", twice.as_bytes())).await;
        assert!([400, 403, 422].contains(&got.status), "{twice}: {} {}", got.status, got.text);
    }
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_carried_out_once_under_its_key() {
    let place = Place::filled(Db::sqlite().await, &by_role(), no_rates()).await;
    let key = uuid::Uuid::now_v7().to_string();
    let body = json!({ "mode": "verify", "projection": "all" }).to_string();
    let ask = || Ask::post("/api/v1/runs", "application/json", body.as_bytes()).header("idempotency-key", &key);
    let (one, again) = (place.send(Some("auditor"), ask()).await, place.send(Some("auditor"), ask()).await);
    assert_eq!((one.status, again.status), (202, 202), "{} {}", one.text, again.text);
    assert_eq!(one.json()["data"]["run"]["run_id"], key.as_str());
    assert_eq!(again.json()["data"]["run"]["run_id"], key.as_str());
    let other = json!({ "mode": "verify", "projection": "trace_summary" }).to_string();
    let ask = Ask::post("/api/v1/runs", "application/json", other.as_bytes()).header("idempotency-key", &key);
    let got = place.send(Some("auditor"), ask).await;
    assert_eq!((got.status, got.code().as_str()), (409, "idempotency_conflict"), "{}", got.text);
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let got = place.get("auditor", &format!("/api/v1/runs/{key}?wait_ms=1000")).await;
        if got.json()["data"]["run"]["state"] == "completed" {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{}", got.text);
    }
    let (replay, key_of_replay) = (json!({ "projection": "all", "reason": "again" }), uuid::Uuid::now_v7().to_string());
    let text = replay.to_string();
    for _ in 0..2 {
        let ask = Ask::post("/api/v1/admin/replays", "application/json", text.as_bytes());
        let got = place.send(Some("operator"), ask.header("idempotency-key", &key_of_replay)).await;
        assert_eq!(got.status, 202, "{}", got.text);
        assert_eq!(got.json()["data"]["run"]["job_id"], key_of_replay.as_str());
    }
    place.stop().await;
}

/// The pages in `docs/reference` are those of the table of routes. `DECISIONGRAPH_BLESS=1` writes them.
#[test]
fn the_reference_is_that_of_the_routes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let document = format!("{:#}\n", decisiongraph_http::api::openapi::document());
    for (name, text) in [("HTTP_API.md", decisiongraph_http::api::page::markdown()), ("openapi.json", document)] {
        let path = folder.join(name);
        if std::env::var_os("DECISIONGRAPH_BLESS").is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect(name), text, "write it with DECISIONGRAPH_BLESS=1");
    }
}

/// The JSON Schemas come as the program has them, without an envelope, to any identity.
#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_of_events_are_served() {
    let place = Place::filled(Db::sqlite().await, &by_role(), ApiBounds::default()).await;
    let listed = place.get("appender", "/api/v1/schemas").await.json();
    for schema in listed["data"]["schemas"].as_array().expect("a list") {
        let name = schema["name"].as_str().expect("a name");
        let got = place.get("appender", &format!("/api/v1/schemas/{name}")).await;
        assert_eq!((got.status, got.header("content-type")), (200, "application/schema+json"));
        assert_eq!(Some(got.json()), decisiongraph_protocol::schema::of(name));
    }
    let unknown = place.get("appender", "/api/v1/schemas/TraceStartd").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
    assert!(unknown.text.contains("did you mean `TraceStarted`"), "{}", unknown.text);
    place.stop().await;
}

/// The calls of the original service's client, with the standard library of Python.
#[tokio::test(flavor = "multi_thread")]
async fn the_eleven_calls_of_the_original_client_are_answered() {
    let identities = json!({ "all": { "roles": ["admin"], "tenants": ["default"] } });
    for db in Db::both().await {
        let place = Place::filled(db, &identities, ApiBounds::default()).await;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_support/eleven_calls.py");
        let (url, token) = (place.server.url().expect("a URL"), place.tokens["all"].clone());
        let ran = tokio::task::spawn_blocking(move || {
            decisiongraph_store::launch::program("python3").arg(script).args([url, token]).output()
        });
        let output = ran.await.expect("runs").expect("python3 is there: .ci/run installs it");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout == b"11 calls\n", "{told}");
        place.stop().await;
    }
}
