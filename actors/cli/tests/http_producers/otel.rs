//! An agent that is observed with OpenTelemetry: its SDK's own exporter sends a run to a node, and sends it again.

use crate::cli_support::node::{Node, PATIENCE};
use crate::cli_support::{Cli, text};
use decisiongraph_store::launch;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Packages of the SDK and its exporter, in versions that were tried.
const PACKAGES: [&str; 2] = ["opentelemetry-sdk==1.38.0", "opentelemetry-exporter-otlp-proto-http==1.38.0"];

/// Installs the SDK into a folder that later runs use again. Without pip or its registry the test is left out.
fn sdk() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("otel-python");
    let works = |folder: &Path| {
        let imports = "import opentelemetry.sdk, opentelemetry.exporter.otlp.proto.http";
        python(folder).args(["-c", imports]).output().is_ok_and(|ended| ended.status.success())
    };
    if !works(&folder) {
        let mut install = python(&folder);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", text(&folder)]);
        let _ = install.args(PACKAGES).output();
    }
    works(&folder).then_some(folder)
}

fn python(folder: &Path) -> Command {
    let mut command = launch::program("python3");
    command.env("PYTHONPATH", folder).env("HOME", folder);
    command
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

#[test]
fn a_run_that_is_exported_by_the_opentelemetry_sdk_is_a_decision_once() {
    let Some(sdk) = sdk() else {
        eprintln!("the OpenTelemetry SDK could not be installed from PyPI: its test is left out");
        return;
    };
    let cli = Cli::new();
    let node = Node::start(&cli, &["--metrics-listen", "127.0.0.1:0"]);
    let token = std::fs::read_to_string(cli.data_dir().join("http.token")).expect("the token");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_support/otel_agent.py");
    let ended = python(&sdk)
        .arg(script)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{}/v1/traces", node.http.as_ref().expect("HTTP")))
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            format!("authorization=Bearer%20{},x-tenant-id=default", token.trim()),
        )
        .env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    let told = String::from_utf8_lossy(&ended.stderr);
    let run: Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}\n{told}"));
    assert_eq!(run["results"], serde_json::json!(vec!["SUCCESS"; 6]), "{told}");
    assert_eq!(run["again"], "SUCCESS", "{told}");
    let id = run["trace"].as_str().expect("an id");
    let until = Instant::now() + PATIENCE;
    let trace = loop {
        let trace = cli.run(&["trace", id, "--json"]);
        if trace.code == 0 || Instant::now() > until {
            break trace.json();
        }
    };
    let events = trace["events"].as_array().expect("events");
    let types: Vec<&str> = events.iter().filter_map(|event| event["event_type"].as_str()).collect();
    let order = [
        "TraceStarted",
        "InputObserved",
        "PolicyEvaluated",
        "ActionProposed",
        "ActionCommitted",
        "EntityObserved",
        "TraceFinished",
    ];
    assert_eq!(types, order, "each span once, and nothing behind the end");
    let policy = &events[2]["payload"];
    assert_eq!((&policy["decision"], &policy["otel_mapping"]), (&"allow".into(), &1.into()), "{policy}");
    assert_eq!(policy["attributes"]["gen_ai.evaluation.score.value"], "0.85", "{policy}");
    let page = get(node.pages.as_ref().expect("pages"), "/metrics");
    for (outcome, spans) in [("stored", 4), ("repeated", 4), ("operation_not_mapped", 2), ("conflict", 1)] {
        let series = format!("decisiongraph_otlp_spans_total{{outcome=\"{outcome}\"}} {spans}\n");
        assert!(page.contains(&series), "{series} in {page}");
    }
    let log = std::fs::read_to_string(cli.path("node.log")).expect("the log");
    assert!(log.contains("1 of 1 spans that came by OTLP are not stored: conflict 1"), "{log}");
}
