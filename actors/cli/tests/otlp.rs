//! OTLP: the data that a collector receives, and the cost of a collector that is away or hangs.

mod cli_support;

use bytes::Bytes;
use cli_support::Cli;
use cli_support::node::Node;
use decisiongraph_cli::config::LogFormat;
use decisiongraph_cli::telemetry::signals;
use decisiongraph_cli::telemetry::{Exporters, LogOptions, Telemetry, TelemetryOptions};
use decisiongraph_engine::observed;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing_subscriber::fmt::MakeWriter;

/// Longest wait for an expected event.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as the collector received it.
struct Received {
    path: String,
    kind: String,
    body: Bytes,
}

/// Starts a collector that accepts everything.
fn collect(listener: TcpListener) -> mpsc::UnboundedReceiver<Received> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let take = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
                    let body = body.collect().await.expect("a body").to_bytes();
                    let _ = sender.send(Received { path: head.uri.path().to_owned(), kind: kind.to_owned(), body });
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
        }
    });
    receiver
}

async fn listener(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("listens");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn exporters(collector: SocketAddr) -> Exporters {
    Exporters::start(&TelemetryOptions {
        name: "node-1".to_owned(),
        otlp_endpoint: Some(format!("http://{collector}")),
        otlp_interval: Duration::from_secs(3_600),
    })
    .expect("starts")
}

fn batch(telemetry: &Telemetry) {
    let tenant = TenantId::new("acme").expect("a tenant");
    let span = signals::batch_span(&tenant, "trace_summary", LogSeq(4), LogSeq(9), None, None);
    signals::failed(&span, Category::Conflict);
    observed::batch_committed(telemetry, "trace_summary", 5, 100, Duration::from_millis(1));
}

/// Returns every length-delimited field of a protobuf message that `path` leads to. Panics on another message.
fn protobuf<'a>(message: &'a [u8], path: &[u64]) -> Vec<&'a [u8]> {
    let Some((wanted, rest)) = path.split_first() else { return vec![message] };
    let (mut at, mut found) = (0, Vec::new());
    let varint = |at: &mut usize| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = message[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    while at < message.len() {
        let tag = varint(&mut at);
        match tag & 7 {
            0 => drop(varint(&mut at)),
            1 => at += 8,
            5 => at += 4,
            2 => {
                let length = varint(&mut at) as usize;
                if tag >> 3 == *wanted {
                    found.extend(protobuf(&message[at..at + length], rest));
                }
                at += length;
            }
            other => panic!("no protobuf: wire type {other}"),
        }
    }
    found
}

fn texts(message: &[u8], path: &[u64]) -> Vec<String> {
    protobuf(message, path).into_iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn count(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().expect("lock")).matches(what).count()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Written;
    fn make_writer(&self) -> Written {
        self.clone()
    }
}

fn log_options() -> LogOptions {
    LogOptions { filter: "info".to_owned(), format: LogFormat::Text, ansi: false }
}

#[tokio::test]
async fn a_collector_gets_spans_and_metrics_as_protobuf() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let mut received = collect(listener);
    let exporters = exporters(address);
    let subscriber = exporters.subscriber(&log_options(), Written::default()).expect("a filter");
    tracing::subscriber::with_default(subscriber, || {
        batch(&exporters.telemetry());
        // A library's span is not exported.
        drop(tracing::info_span!(target: "elsewhere", "not ours"));
    });
    exporters.stop().await;
    let (mut traces, mut metrics) = (None, None);
    while traces.is_none() || metrics.is_none() {
        let next = tokio::time::timeout(PATIENCE, received.recv()).await.expect("in time").expect("a request");
        assert_eq!(next.kind, "application/x-protobuf");
        match next.path.as_str() {
            "/v1/traces" => traces = Some(next.body),
            "/v1/metrics" => metrics = Some(next.body),
            other => panic!("{other}"),
        }
    }
    let (traces, metrics) = (traces.expect("traces"), metrics.expect("metrics"));
    // ResourceSpans 1, ScopeSpans 2, Span 2: name 5, attributes 9 (key 1, value 2: string 1), status 15.
    assert_eq!(texts(&traces, &[1, 2, 2, 5]), ["batch"]);
    let keys = texts(&traces, &[1, 2, 2, 9, 1]);
    for field in ["tenant", "projection", "from", "to", "category"] {
        assert!(keys.iter().any(|key| key == field), "{field} in {keys:?}");
    }
    assert!(texts(&traces, &[1, 2, 2, 9, 2, 1]).contains(&"acme".to_owned()));
    assert!(texts(&traces, &[1, 1, 1, 2, 1]).contains(&"node-1".to_owned()));
    // ResourceMetrics 1, ScopeMetrics 2, Metric 2: name 1, unit 3.
    let names = texts(&metrics, &[1, 2, 2, 1]);
    for metric in [&signals::EVENTS_APPLIED, &signals::BATCH_DURATION, &signals::BATCH_EVENTS] {
        assert!(names.iter().any(|name| name == metric.name), "{} in {names:?}", metric.name);
    }
    assert!(texts(&metrics, &[1, 2, 2, 3]).contains(&"{event}".to_owned()));
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_used_again_when_it_is_back() {
    let (held, address) = listener("127.0.0.1:0").await;
    drop(held);
    let exporters = exporters(address);
    // The exporters log from their own threads, so this log is the process's.
    let log = Written::default();
    let subscriber = exporters.subscriber(&log_options(), log.clone()).expect("a filter");
    tracing::subscriber::set_global_default(subscriber).expect("the only one of this process");
    for _ in 0..4 {
        batch(&exporters.telemetry());
        exporters.flush().await;
    }
    // Once for traces, once for metrics. Other tests of this process log other errors.
    assert_eq!(log.count("Connection refused"), 2);
    let (back, _) = listener(&address.to_string()).await;
    let mut received = collect(back);
    batch(&exporters.telemetry());
    exporters.flush().await;
    let mut paths = Vec::new();
    while paths.len() < 2 {
        let next = tokio::time::timeout(PATIENCE, received.recv()).await.expect("in time").expect("a request");
        paths.push(next.path);
    }
    paths.sort();
    assert_eq!(paths, ["/v1/metrics", "/v1/traces"]);
    exporters.stop().await;
    assert_eq!((log.count("collector reached again"), log.count("Connection refused")), (2, 2));
}

#[tokio::test]
async fn a_collector_that_hangs_slows_nothing_and_holds_up_the_stop_for_its_deadline_only() {
    // The listener accepts connections and never answers.
    let (listener, address) = listener("127.0.0.1:0").await;
    let (reached, mut connected) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = reached.send(stream);
        }
    });
    let exporters = exporters(address);
    let telemetry = exporters.telemetry();
    let subscriber = exporters.subscriber(&log_options(), Written::default()).expect("a filter");
    let guard = tracing::subscriber::set_default(subscriber);
    let flush = exporters.flush();
    batch(&telemetry);
    let hanging = async {
        let _stream = tokio::time::timeout(PATIENCE, connected.recv()).await.expect("in time").expect("a connection");
        let started = Instant::now();
        for _ in 0..20_000 {
            batch(&telemetry);
        }
        // More spans than may wait; each took microseconds.
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert!(telemetry.page().contains("decisiongraph_events_applied_total"));
        _stream
    };
    let ((), _held) = tokio::join!(flush, hanging);
    drop(guard);
    let started = Instant::now();
    exporters.stop().await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Spans of a node's HTTP requests: trace, parent.
fn http_spans(traces: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    // Span: trace 1, parent 4, name 5.
    let spans = protobuf(traces, &[1, 2, 2]).into_iter().filter(|span| texts(span, &[5]) == ["http"]);
    let only = |span: &[u8], field| protobuf(span, &[field]).first().map(|bytes| bytes.to_vec()).unwrap_or_default();
    spans.map(|span| (only(span, 1), only(span, 4))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_known_token_continues_its_callers_trace() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let mut received = collect(listener);
    let cli = Cli::new();
    let mut node = Node::start(&cli, &["--otlp-endpoint", &format!("http://{address}")]);
    let token = std::fs::read_to_string(cli.data_dir().join("http.token")).expect("the token");
    let ask = |token: &str, trace: u8| {
        let at = node.http.as_deref().expect("an address");
        let trace = format!("{trace:02x}").repeat(16);
        let head = format!("host: {at}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n");
        let mut connection = TcpStream::connect(at).expect("connects");
        let parent = "00f067aa0ba902b7";
        write!(connection, "GET /api/v1/whoami HTTP/1.1\r\n{head}traceparent: 00-{trace}-{parent}-01\r\n\r\n")
            .expect("asks");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(ask(token.trim(), 0xab).starts_with("HTTP/1.1 200"));
    assert!(ask("dg_00000000_unknown", 0xcd).starts_with("HTTP/1.1 401"));
    node.signal("TERM");
    assert_eq!(node.ended(), Some(0));
    let mut spans = Vec::new();
    while let Ok(next) = received.try_recv() {
        if next.path == "/v1/traces" {
            spans.extend(http_spans(&next.body));
        }
    }
    assert_eq!(spans.len(), 2, "{spans:?}");
    let of = |trace: u8| spans.iter().find(|(id, _)| *id == [trace; 16]).map(|(_, parent)| parent.clone());
    assert_eq!(of(0xab), Some(vec![0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
    assert_eq!(of(0xcd), None, "a stranger's trace is not continued");
}
