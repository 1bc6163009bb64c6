//! Tests of the node's HTTP pages with a raw TCP client.

use decisiongraph_cli::telemetry::{Exporters, Telemetry, TelemetryOptions, signals};
use decisiongraph_http::{HttpBounds, HttpServer, Probes};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an expected event.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Node {
    failed: Mutex<Option<&'static str>>,
}

impl Probes for Node {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }
    fn ready(&self) -> Result<(), String> {
        self.failed.lock().expect("lock").map_or(Ok(()), |failed| Err(failed.to_owned()))
    }
}

async fn server(node: &Arc<Node>, telemetry: Telemetry, bounds: HttpBounds) -> HttpServer {
    let probes = Arc::clone(node) as Arc<dyn Probes>;
    HttpServer::start("127.0.0.1:0".parse().expect("an address"), probes, telemetry, bounds).await.expect("listens")
}

/// Sends these bytes and returns status, head and body of the answer.
async fn exchange(address: SocketAddr, request: &str) -> (u16, String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn probes_say_which_check_failed() {
    let node = Arc::new(Node::default());
    let server = server(&node, Telemetry::default(), HttpBounds::default()).await;
    for path in ["/livez", "/readyz", "/readyz?verbose"] {
        let (status, head, body) = get(server.address(), path).await;
        assert_eq!((status, body.as_str()), (200, "{\"ok\":true}\n"), "{path}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }
    *node.failed.lock().expect("lock") = Some("the database is \"away\"");
    let (status, _, body) = get(server.address(), "/readyz").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, body), (503, serde_json::json!({ "ok": false, "failed": "the database is \"away\"" })));
    assert_eq!(get(server.address(), "/livez").await.0, 200);
}

#[tokio::test]
async fn only_three_paths_and_two_methods_are_answered_and_bodies_are_not_read() {
    let node = Arc::new(Node::default());
    let server = server(&node, Telemetry::default(), HttpBounds::default()).await;
    for path in ["/", "/metrics/", "/livez/x", "/../livez"] {
        assert_eq!(get(server.address(), path).await.0, 404, "{path}");
    }
    // A gigabyte is announced and never sent: the answer does not wait for it.
    let post = "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n";
    let (status, head, _) = exchange(server.address(), post).await;
    assert!(status == 405 && head.contains("allow: get, head"), "{head}");
    assert_eq!(exchange(server.address(), "DELETE /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await.0, 404);
    let (status, head, body) = exchange(server.address(), "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 12"), "{head}");
    assert_eq!(exchange(server.address(), "nonsense\r\n\r\n").await.0, 400);
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_text() {
    let exporters = Exporters::start(&TelemetryOptions {
        name: "n1".to_owned(),
        otlp_endpoint: None,
        otlp_interval: Duration::from_secs(60),
    });
    let exporters = exporters.expect("starts");
    exporters.telemetry().add(&signals::EVENTS_APPLIED, 7, &["trace_summary"]);
    let node = Arc::new(Node::default());
    let server = server(&node, exporters.telemetry(), HttpBounds::default()).await;
    let (status, head, body) = get(server.address(), "/metrics").await;
    assert!(status == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(
        body.lines().any(|line| line == "decisiongraph_events_applied_total{projection=\"trace_summary\"} 7"),
        "{body}"
    );
}

#[tokio::test]
async fn a_slow_client_is_dropped() {
    let node = Arc::new(Node::default());
    let bounds = HttpBounds { head: Duration::from_millis(200), connection: 2 * PATIENCE, ..HttpBounds::default() };
    let server = server(&node, Telemetry::default(), bounds).await;
    let mut stream = TcpStream::connect(server.address()).await.expect("connects");
    stream.write_all(b"GET /livez HT").await.expect("sends");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection is still open");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_says_nothing_gives_its_place_to_the_next_one_and_goes_at_the_deadline() {
    let node = Arc::new(Node::default());
    let deadline = Duration::from_secs(2);
    let bounds = HttpBounds { connections_max: 2, head: PATIENCE, connection: deadline };
    let server = server(&node, Telemetry::default(), bounds).await;
    let started = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(server.address()).await.expect("connects"));
    }
    assert_eq!(get(server.address(), "/livez").await.0, 200);
    assert!(started.elapsed() < deadline, "the third waited for the others");
    for (mut stream, gave_way) in silent.into_iter().zip([true, false]) {
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert_eq!(ended.expect("is closed").expect("in order"), 0);
        assert!(gave_way || started.elapsed() >= deadline, "the younger one had its time");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let node = Arc::new(Node::default());
    let first = server(&node, Telemetry::default(), HttpBounds::default()).await;
    let second = HttpServer::start(first.address(), node, Telemetry::default(), HttpBounds::default()).await;
    let error = second.expect_err("in use");
    assert!(error.message.contains(&first.address().to_string()), "{error}");
}
