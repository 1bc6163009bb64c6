//! Promise: a moved log keeps its positions, and with them the reference digests. It comes from either backend, from
//! the Python reference's file, or from the tables of the original service. All of it is stored, or nothing.

use super::cli_support::node::{Node, wait_until};
use super::cli_support::{Cli, Ended, enterprise, event, finished, started, text, trace};
use super::pages::{self, Command, blocks, commands, repository};
use super::{server, session};
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::Database;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

const GUIDE: &str = "docs/guide/MOVING.md";
const RECORDED: &str = "2026-01-05T10:00:00.123456Z";

/// The reference's table, with the columns of its schema.
const REFERENCE: &str = "CREATE TABLE dg_event_log (
    log_seq INTEGER PRIMARY KEY, event_id TEXT UNIQUE NOT NULL, trace_id TEXT NOT NULL, trace_seq INTEGER NOT NULL,
    event_type TEXT NOT NULL, occurred_at TEXT NOT NULL, recorded_at TEXT NOT NULL, producer_id TEXT NOT NULL,
    system TEXT NOT NULL, subsystem TEXT, actor_type TEXT NOT NULL, actor_id TEXT NOT NULL, correlation_id TEXT,
    causation_event_id TEXT, idempotency_key TEXT NOT NULL, schema_version INTEGER NOT NULL,
    payload_json TEXT NOT NULL, payload_hash TEXT NOT NULL, tags_json TEXT NOT NULL DEFAULT '[]')";

/// The original service's table, with the columns of its schema.
const ORIGINAL: &str = "CREATE TABLE dg_event_log (
    log_seq bigserial PRIMARY KEY, tenant_id text NOT NULL DEFAULT 'default', event_id text NOT NULL,
    trace_id text NOT NULL, trace_seq integer NOT NULL, event_type text NOT NULL, occurred_at text NOT NULL,
    recorded_at text NOT NULL, producer_id text NOT NULL, source_system text NOT NULL, source_subsystem text,
    actor_type text NOT NULL, actor_id text NOT NULL, correlation_id text, causation_event_id text,
    idempotency_key text NOT NULL, schema_version integer NOT NULL DEFAULT 1, payload_json text NOT NULL,
    payload_hash text NOT NULL, tags_json text NOT NULL DEFAULT '[]')";

/// Events of a foreign log, each with its position, and the hashes that its program stored.
struct Foreign {
    events: Vec<(i64, Value)>,
    hashes: BTreeMap<String, String>,
}

impl Foreign {
    /// Places events at these positions. This program's hashes, which are the reference's, stand for the stored ones.
    fn of(events: impl IntoIterator<Item = (i64, Value)>) -> Foreign {
        let events: Vec<(i64, Value)> = events.into_iter().collect();
        let cli = Cli::new();
        let lines: Vec<String> = events.iter().map(|(_, event)| event.to_string()).collect();
        // Events that are refused get no hash.
        cli.pipe(&["append", "-", "--credential-guard", "reference"], lines.join("\n").as_bytes());
        let export = cli.run(&["export", "--all-tenants"]);
        let hash = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let key = format!("{}/{}", line["tenant_id"].as_str().expect("a tenant"), id(&line));
            (key, line["payload_hash"].as_str().expect("a hash").to_owned())
        };
        Foreign { events, hashes: export.stdout.lines().map(hash).collect() }
    }

    fn hash(&self, event: &Value) -> &str {
        let tenant = event["tenant_id"].as_str().unwrap_or("default");
        self.hashes.get(&format!("{tenant}/{}", id(event))).map_or("sha256:none", String::as_str)
    }

    /// Writes the reference's file.
    fn file(&self, cli: &Cli, name: &str) -> String {
        let path = cli.path(name);
        let file = Connection::open(&path).expect("a file");
        file.execute_batch("PRAGMA journal_mode = WAL").expect("as the reference does");
        file.execute_batch(REFERENCE).expect("a table");
        for (log_seq, event) in &self.events {
            let word = |value: &Value| value.as_str().map(str::to_owned);
            let source = &event["source"];
            let insert = "INSERT INTO dg_event_log VALUES
                          (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)";
            let row = rusqlite::params![
                log_seq,
                word(&event["event_id"]),
                word(&event["trace_id"]),
                event["trace_seq"].as_i64(),
                word(&event["event_type"]),
                word(&event["occurred_at"]),
                RECORDED,
                word(&source["producer_id"]),
                word(&source["system"]),
                word(&source["subsystem"]),
                word(&event["actor"]["actor_type"]),
                word(&event["actor"]["actor_id"]),
                word(&event["correlation_id"]),
                word(&event["causation_event_id"]),
                word(&event["idempotency_key"]),
                event["schema_version"].as_i64().unwrap_or(1),
                event["payload"].to_string(),
                self.hash(event),
                tags(event),
            ];
            file.execute(insert, row).expect("a row");
        }
        text(&path).to_owned()
    }

    /// Fills the original service's table in a database.
    async fn tables(&self, database: &Database) {
        let client = session(database.url()).await;
        client.batch_execute(ORIGINAL).await.expect("a table");
        for (log_seq, event) in &self.events {
            // One JSON object per row: the server takes it apart.
            let source = &event["source"];
            let row = json!({
                "log_seq": log_seq, "tenant_id": event["tenant_id"].as_str().unwrap_or("default"),
                "event_id": event["event_id"], "trace_id": event["trace_id"], "trace_seq": event["trace_seq"],
                "event_type": event["event_type"], "occurred_at": event["occurred_at"], "recorded_at": RECORDED,
                "producer_id": source["producer_id"], "source_system": source["system"],
                "source_subsystem": source["subsystem"], "actor_type": event["actor"]["actor_type"],
                "actor_id": event["actor"]["actor_id"], "correlation_id": event["correlation_id"],
                "causation_event_id": event["causation_event_id"], "idempotency_key": event["idempotency_key"],
                "schema_version": event["schema_version"].as_i64().unwrap_or(1),
                "payload_json": event["payload"].to_string(), "payload_hash": self.hash(event),
                "tags_json": tags(event),
            });
            let insert =
                "INSERT INTO dg_event_log SELECT * FROM json_populate_record(NULL::dg_event_log, $1::text::json)";
            client.execute(insert, &[&row.to_string()]).await.expect("a row");
        }
    }
}

fn id(event: &Value) -> &str {
    event["event_id"].as_str().expect("an id")
}

fn tags(event: &Value) -> String {
    if event["tags"].is_null() { "[]".to_owned() } else { event["tags"].to_string() }
}

/// Reads the demo's events.
fn company() -> Vec<Value> {
    let log = fs::read_to_string(enterprise()).expect("the log");
    log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Interleaves the demo's events of three tenants, with gaps between their positions.
fn interleaved() -> Vec<(i64, Value)> {
    let mut events = Vec::new();
    for (index, event) in (1..).zip(company()) {
        for (tenant, of) in ["acme", "globex", "übermut"].into_iter().enumerate() {
            let mut event = event.clone();
            event["tenant_id"] = json!(of);
            events.push((index * 10 + 2 * tenant as i64, event));
        }
    }
    events
}

/// Writes events as the lines of a log.
fn lines(events: &[(i64, Value)]) -> String {
    let line = |(log_seq, event): &(i64, Value)| {
        let mut event = event.clone();
        event["log_seq"] = json!(log_seq);
        event["recorded_at"] = json!(RECORDED);
        event.to_string() + "\n"
    };
    events.iter().map(line).collect()
}

async fn postgres() -> Database {
    server().await.fresh_database().await.expect("a database")
}

fn on(cli: &Cli, url: &str, args: &[&str]) -> Ended {
    cli.run(&[args, &["--database", url]].concat())
}

fn keep(cli: &Cli, url: &str, lines: &str) -> Ended {
    cli.pipe(&["import", "--keep-positions", "-", "--json", "--database", url], lines.as_bytes())
}

/// Applies the events of every tenant, and returns the reference digests of each.
fn digests(cli: &Cli, url: &str) -> String {
    assert_eq!(on(cli, url, &["catch-up", "--all-tenants"]).code, 0);
    let digests = on(cli, url, &["digest", "--reference", "--all-tenants", "--json"]);
    assert_eq!(digests.code, 0, "{}", digests.stderr);
    digests.stdout
}

fn export(cli: &Cli, url: &str) -> String {
    let export = on(cli, url, &["export", "--all-tenants"]);
    assert_eq!(export.code, 0, "{}", export.stderr);
    export.stdout
}

fn positions(export: &str) -> Vec<i64> {
    let position = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["log_seq"].as_i64();
    let mut positions: Vec<i64> = export.lines().filter_map(position).collect();
    positions.sort_unstable();
    positions
}

/// An embedded database of the test, and one on the server. The second keeps the server's database.
async fn both(cli: &Cli) -> [(String, Option<Database>); 2] {
    let server = postgres().await;
    [(format!("sqlite:{}", cli.path("own.db").display()), None), (server.url().to_owned(), Some(server))]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_several_tenants_moves_from_either_backend_to_the_other() {
    let cli = Cli::new();
    let (first, second) = (format!("sqlite:{}", cli.path("1.db").display()), postgres().await);
    let third = format!("sqlite:{}", cli.path("3.db").display());
    let events = interleaved();
    let moved = keep(&cli, &first, &lines(&events));
    assert_eq!(moved.json(), json!({"lines": 291, "accepted": 291, "repeated": 0}), "{}", moved.stderr);
    let exported = export(&cli, &first);
    assert_eq!(positions(&exported), events.iter().map(|(log_seq, _)| *log_seq).collect::<Vec<_>>());
    assert!(exported.contains("\"recorded_at\":\"2026-01-05T10:00:00.123Z\""), "{}", &exported[..400]);

    assert_eq!(keep(&cli, second.url(), &exported).code, 0);
    let there = export(&cli, second.url());
    assert_eq!(there.replace("00.123000Z", "00.123Z"), exported, "all but the digits of a time");
    assert_eq!(keep(&cli, &third, &there).code, 0);
    assert_eq!(export(&cli, &third), exported);

    let expected = digests(&cli, &first);
    assert_eq!(digests(&cli, second.url()), expected);
    assert_eq!(digests(&cli, &third), expected);
    let counted = Cli::new();
    assert_eq!(counted.pipe(&["import", "-"], exported.as_bytes()).code, 0);
    assert_eq!(counted.run(&["catch-up", "--all-tenants"]).code, 0);
    let other = counted.run(&["digest", "--reference", "--all-tenants", "--json"]).stdout;
    assert_ne!(other, expected, "positions stand in the digests");

    for url in [first.as_str(), second.url(), third.as_str()] {
        let next = cli.pipe(&["append", "-", "--json", "--database", url], started("later").to_string().as_bytes());
        assert_eq!(next.verdicts().0[0]["log_seq"], 975, "above the highest position");
        assert_eq!(on(&cli, url, &["catch-up", "--all-tenants"]).code, 0);
        assert_eq!(on(&cli, url, &["verify", "--all-tenants"]).code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_has_events_is_refused_and_the_shown_command_works() {
    let cli = Cli::new();
    for (url, _server) in both(&cli).await {
        let log = cli.file("log.jsonl", lines(&[(5, started("t")), (7, finished("t", 1))]));
        let args = ["import", "--keep-positions", text(&log)];
        assert_eq!(on(&cli, &url, &args).code, 0);
        let before = export(&cli, &url);
        let again = on(&cli, &url, &[&args[..], &["--json"]].concat());
        let message = again.refused(4, "conflict");
        assert!(message.contains("keeps its positions only in a database that never had any"), "{message}");
        assert_eq!(export(&cli, &url), before, "nothing was changed");
        let error: Value = serde_json::from_str(&again.stderr).expect("JSON");
        let next = error["error"]["next"].as_str().expect("a next step").to_owned();
        let shown: Vec<&str> = next.split('`').skip(1).step_by(2).collect();
        assert_eq!(shown.len(), 2, "{next}");
        if url.starts_with("sqlite") {
            let script = format!("cd '{}' && {}", cli.dir.path().display(), shown[0]);
            let shell = launch::program("bash")
                .args(["-c", &script])
                .env("PATH", format!("{}:/usr/bin:/bin", programs().display()))
                .stdout(Stdio::null())
                .status();
            assert!(shell.expect("bash").success(), "{}", shown[0]);
            assert_eq!(positions(&export(&cli, &format!("sqlite:{}", cli.path("moved.db").display()))), [5, 7]);
        }
        assert!(shown[1].contains("decisiongraph import") && !shown[1].contains("--keep-positions"), "{next}");
    }
}

fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a directory")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_nothing_is_stored() {
    let cli = Cli::new();
    let good = lines(&[
        (3, started("t")),
        (5, event("t", 1, "PrecedentCited", json!({"cited_trace_id": "u", "reason": "r"}))),
    ]);
    let without = finished("t", 2).to_string();
    let float = event("t", 2, "TraceFinished", json!({"outcome": "success", "score": 0.5}));
    let secret = event(
        "t",
        2,
        "PrecedentCited",
        json!({"cited_trace_id": "u", "reason": "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"}),
    );
    for (url, _server) in both(&cli).await {
        for (bad, category, part) in [
            (without.clone(), "schema_violation", "line 3: `log_seq` is missing"),
            (lines(&[(5, finished("t", 2))]), "event_sequence_invalid", "line 3: `log_seq` is 5"),
            (lines(&[(4, finished("t", 2))]), "event_sequence_invalid", "positions must ascend"),
            (lines(&[(0, finished("t", 2))]), "schema_violation", "from 1"),
            (lines(&[(6, finished("t", 3))]), "event_sequence_invalid", "line 3 (event t-3)"),
            (lines(&[(6, started("t"))]), "idempotency_conflict", "position 3"),
            (lines(&[(6, float.clone())]), "schema_violation", "float"),
            (lines(&[(6, secret.clone())]), "pii_violation", "line 3"),
            (
                lines(&[(6, finished("t", 2))]).replace("\"payload\":", "\"payload_hash\":\"sha256:1\",\"payload\":"),
                "conflict",
                "`payload_hash` does not match",
            ),
        ] {
            let refused = keep(&cli, &url, &(good.clone() + &bad));
            let message = refused.refused(4, category);
            assert!(message.contains(part) && message.ends_with("nothing was stored"), "{part}: {message}");
            assert_eq!(on(&cli, &url, &["tenants", "--json"]).json()["tenants"], json!([]), "{part}");
        }
        assert_eq!(keep(&cli, &url, &good).code, 0, "the database is still empty");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_leaves_nothing_or_all_of_it() {
    let cli = Cli::new();
    // Several chunks.
    let log: String = (0..900)
        .flat_map(|number| {
            let id = format!("t{number}");
            [(number * 4 + 1, started(&id)), (number * 4 + 3, finished(&id, 1))]
        })
        .map(|event| lines(&[event]))
        .collect();
    let file = cli.file("log.jsonl", &log);
    for kind in ["sqlite", "postgres"] {
        for point in ["move.stored:2", "move.before_commit", "move.after_commit"] {
            let server = postgres().await;
            let url = match kind {
                "sqlite" => format!("sqlite:{}", cli.path(&format!("{point}.db")).display()),
                _ => server.url().to_owned(),
            };
            let args = ["import", "--keep-positions", text(&file), "--json", "--database", &url];
            let killed = cli.command(&args).env("DECISIONGRAPH_CRASH_AT", point).output().expect("starts");
            assert_eq!(killed.status.signal(), Some(9), "{kind} at {point}");
            let again = cli.run(&args);
            if point == "move.after_commit" {
                again.refused(4, "conflict");
            } else {
                assert_eq!(again.json()["accepted"], 1_800, "{kind} at {point}: {}", again.stderr);
            }
            let expected: Vec<i64> = (0..1_800).map(|number| number * 2 + 1).collect();
            assert_eq!(positions(&export(&cli, &url)), expected, "{kind} at {point}");
            assert_eq!(on(&cli, &url, &["catch-up"]).code, 0);
            assert_eq!(on(&cli, &url, &["verify"]).code, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_applies_a_moved_log_whole() {
    let expected = {
        let cli = Cli::new();
        let url = format!("sqlite:{}", cli.path("quiet.db").display());
        assert_eq!(keep(&cli, &url, &lines(&interleaved())).code, 0);
        digests(&cli, &url)
    };
    for kind in ["postgres", "sqlite"] {
        let (server, cli) = (postgres().await, Cli::new());
        let embedded = format!("sqlite:{}", cli.data_dir().join("decisiongraph.db").display());
        let (url, flags) = match kind {
            "postgres" => (server.url(), vec!["--database", server.url()]),
            _ => (embedded.as_str(), Vec::new()),
        };
        let node = Node::start(&cli, &flags);
        let through = cli.pipe(&["import", "--keep-positions", "-", "--json"], lines(&interleaved()).as_bytes());
        let message = through.refused(4, "conflict");
        assert!(message.contains("a node answers here"), "{message}");
        let moved = keep(&cli, url, &lines(&interleaved()));
        assert_eq!(moved.code, 0, "{}", moved.stderr);
        let socket = format!("unix:{}", node.socket.display());
        let query = ["digest", "--reference", "--all-tenants", "--json", "--node", &socket];
        wait_until("the node has applied the log", || {
            cli.run(&["health", "--node", &socket]).code == 0 && cli.run(&query).stdout == expected
        });
    }
}

/// Reads the scenarios of fixture files: events and digests.
fn scenarios() -> Vec<(Vec<Value>, Value)> {
    let files = ["parity/fixtures/edge_fixture_bundle.json", "../shared/parity/reference_fixture_bundle.json"];
    let texts = files.iter().filter_map(|file| fs::read_to_string(repository().join(file)).ok());
    let bundles = texts.map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
    bundles
        .flat_map(|bundle| {
            let all = bundle["scenarios"].as_array().expect("a list").iter();
            let some = all.filter(|scenario| exact(&scenario["events"])).take(8);
            some.map(|scenario| {
                (scenario["events"].as_array().expect("a list").clone(), scenario["expected_digests"].clone())
            })
            .collect::<Vec<_>>()
        })
        .collect()
}

/// True when this reader of JSON keeps every number.
fn exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(exact),
        Value::Object(members) => members.values().all(exact),
        _ => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_the_reference_and_of_the_original_keep_their_digests() {
    let original = server().await.empty_database().await.expect("a database");
    let mut tables = Vec::new();
    for (number, (events, expected)) in scenarios().into_iter().enumerate() {
        let cli = Cli::new();
        let foreign = Foreign::of((1..).zip(events.clone()));
        let file = foreign.file(&cli, "decisions.db");
        let before = fs::read(&file).expect("the file");
        let args = ["import", "--keep-positions", "--credential-guard", "reference", "--from-reference", &file];
        let imported = cli.run(&args);
        assert_eq!(imported.code, 0, "{}", imported.stderr);
        assert_eq!(fs::read(&file).expect("the file"), before, "it is only read");
        assert_eq!(cli.run(&["catch-up"]).code, 0);
        let digests = cli.json(&["digest", "--reference"]);
        for (name, digest) in expected.as_object().expect("digests") {
            assert_eq!(&digests[name], digest, "{name} of scenario {number}");
        }
        // The same events as one tenant of the original: each with the digests of its own positions.
        tables.extend(events.into_iter().map(|mut event| {
            event["tenant_id"] = json!(format!("scenario {number}"));
            event
        }));
    }
    let foreign = Foreign::of((1..).map(|number| number * 3).zip(tables));
    foreign.tables(&original).await;
    let cli = Cli::new();
    let expected = {
        let url = format!("sqlite:{}", cli.path("lines.db").display());
        let args = ["import", "--keep-positions", "-", "--credential-guard", "reference", "--database", &url];
        assert_eq!(cli.pipe(&args, lines(&foreign.events).as_bytes()).code, 0);
        digests(&cli, &url)
    };
    for (url, _server) in both(&cli).await {
        let args = ["import", "--keep-positions", "--credential-guard", "reference", "--from-original", original.url()];
        let moved = on(&cli, &url, &args);
        assert_eq!(moved.code, 0, "{}", moved.stderr);
        assert_eq!(digests(&cli, &url), expected);
        let times = export(&cli, &url);
        assert!(times.contains("\"recorded_at\":\"2026-01-05T10:00:00.123"), "{}", &times[..400]);
        let at_the_end = ["import", "--credential-guard", "reference", "--from-original", original.url(), "--json"];
        let again = on(&cli, &url, &at_the_end);
        assert_eq!(again.json()["repeated"], json!(foreign.events.len()), "{}", again.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_refused_are_named_with_their_positions() {
    let cli = Cli::new();
    let float = event("t", 1, "PrecedentCited", json!({"cited_trace_id": "u", "reason": "r", "score": 0.5}));
    let unknown = event("u", 1, "SomethingElse", json!({}));
    let foreign = Foreign::of([
        (10, started("t")),
        (20, float),
        (30, started("u")),
        (40, unknown),
        (50, started("v")),
        (60, finished("v", 1)),
    ]);
    let file = foreign.file(&cli, "decisions.db");
    let original = server().await.empty_database().await.expect("a database");
    foreign.tables(&original).await;
    for (url, _server) in both(&cli).await {
        for from in [["--from-reference", file.as_str()], ["--from-original", original.url()]] {
            let dry = on(&cli, &url, &[&["import", "--dry-run", "--json"][..], &from].concat());
            let told = dry.json();
            assert_eq!(
                (dry.code, &told["lines"], &told["accepted"], &told["refused"]),
                (4, &json!(6), &json!(4), &json!(2))
            );
            let named: Vec<&Value> =
                told["refusals"].as_array().expect("a list").iter().map(|it| &it["line"]).collect();
            assert_eq!(named, [20, 40]);
            let shown = on(&cli, &url, &[&["import", "--dry-run", "--keep-positions"][..], &from].concat());
            let first = "6 lines: 4 would be stored, 0 are repeats, 2 would be refused\nlog_seq 20: schema_violation: ";
            assert!(shown.code == 4 && shown.stdout.starts_with(first), "{}", shown.stdout);
            let refused = on(&cli, &url, &[&["import", "--keep-positions", "--json"][..], &from].concat());
            let message = refused.refused(4, "schema_violation");
            assert!(message.starts_with("log_seq 20: ") && message.ends_with("nothing was stored"), "{message}");
            assert_eq!(on(&cli, &url, &["tenants", "--json"]).json()["tenants"], json!([]), "nothing was stored");
        }
    }
    let lines = trace("w").join("\n") + "\n" + &finished("w", 9).to_string();
    let dry = cli.pipe(&["import", "--dry-run", "-"], lines.as_bytes());
    assert!(dry.code == 4 && dry.stdout.contains("line 4 (event w-9): event_sequence_invalid"), "{}", dry.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_another_shape_is_named_without_its_password() {
    let cli = Cli::new();
    let own = cli.file("log.jsonl", trace("t").join("\n"));
    assert_eq!(cli.run(&["import", text(&own)]).code, 0);
    let ours = cli.data_dir().join("decisiongraph.db");
    let empty = cli.path("empty.db");
    Connection::open(&empty).expect("a file").execute_batch("CREATE TABLE t (a)").expect("a table");
    let less = cli.path("less.db");
    let table = REFERENCE.replace("actor_id TEXT NOT NULL, ", "");
    Connection::open(&less).expect("a file").execute_batch(&table).expect("a table");
    let none = cli.path("none.db");
    for (file, code, category, part) in [
        (&ours, 2, "invalid_argument", "this program's own"),
        (&empty, 2, "invalid_argument", "there is no table dg_event_log"),
        (&less, 2, "invalid_argument", "no column actor_id"),
        (&own, 1, "storage", "not a DecisionGraph database"),
        (&none, 5, "not_found", "no such file"),
    ] {
        let message = cli.run(&["import", "--json", "--from-reference", text(file)]).refused(code, category);
        assert!(message.contains(part) && message.contains(text(file)), "{part}: {message}");
    }
    assert!(!none.exists(), "nothing is made");
    let database = server().await.empty_database().await.expect("a database");
    let message = cli.run(&["import", "--json", "--from-original", database.url()]).refused(2, "invalid_argument");
    assert!(message.contains("there is no table dg_event_log") && message.contains("postgres://"), "{message}");
    let secret = "hunter2hunter2";
    for url in [
        format!("postgres://u:{secret}@127.0.0.1:1/d"),
        format!("postgres://u:{secret}@h?a=b@c"),
        format!("mysql://u:{secret}@h/d"),
    ] {
        for mode in ["--dry-run", "--keep-positions", "--json"] {
            let ended = cli.run(&["import", mode, "--from-original", &url]);
            assert_ne!(ended.code, 0);
            assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(secret), "{mode}: {}", ended.stderr);
        }
    }
    cli.run(&["import", "--json"]).refused(2, "invalid_argument");
    cli.run(&["import", "--json", "-", "--from-reference", text(&own)]).refused(2, "invalid_argument");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_shows_what_the_program_prints() {
    let guide = fs::read_to_string(repository().join(GUIDE)).expect("the guide");
    let cli = Cli::new();
    Foreign::of((1..).zip(company())).file(&cli, "decisions.db");
    let original = server().await.empty_database().await.expect("a database");
    Foreign::of(interleaved()).tables(&original).await;
    let new = server().await.empty_database().await.expect("a database");
    let names = format!("export ORIGINAL='{}' NEW='{}'", original.url(), new.url());
    let mut all = vec![Command { line: 0, text: names, shown: Vec::new() }];
    let blocks = blocks(&guide);
    all.extend(blocks.iter().filter(|block| ["console", "sh"].contains(&block.info)).flat_map(commands));
    assert!(all.len() > 8, "{GUIDE} has commands");
    let printed = pages::run(&all, &cli, programs(), None);
    let differences = pages::differences(GUIDE, &all, &printed);
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
