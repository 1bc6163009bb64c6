//! `check` passes on every fixture, on both backends, at batch sizes from one event to all. It also bites: a fixture
//! with one wrong value fails and is named.

mod run;

use decisiongraph_store::{launch, throwaway};
use run::{fixtures, parity, scenario_bundle};

const BATCH_SIZES: [&str; 4] = ["1", "2", "7", "1000"];
/// Batch sizes on PostgreSQL: the extremes, and every size in a soak. Each scenario has its own database, which takes
/// most of the server's time.
const BATCH_SIZES_POSTGRES: [&str; 2] = ["1", "1000"];

/// Lists the project's own fixtures, and different ones beside the repository, if present.
fn every_fixture() -> Vec<String> {
    let own = |name: &str| fixtures().join(name);
    let mut files: Vec<String> = ["edge_fixture_bundle.json", "edge_query_verdicts.json", "append_verdicts.json"]
        .iter()
        .map(|name| own(name).display().to_string())
        .collect();
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/parity");
    for entry in std::fs::read_dir(beside).into_iter().flatten().flatten() {
        let path = entry.path();
        // Vectors of the sealed log have another format and are not for this check.
        let other = entry.file_name().to_string_lossy().starts_with("seal_");
        let copied = || std::fs::read(own(&entry.file_name().to_string_lossy())).ok() == std::fs::read(&path).ok();
        if !other && path.extension().is_some_and(|extension| extension == "json") && !copied() {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    files
}

fn passes_everywhere(backend: &str, sizes: &[&str]) {
    let (_directory, generated) = scenario_bundle(7, 600, |_, _| ());
    for size in sizes {
        let mut arguments = vec!["check", "--backend", backend, "--batch-size", size];
        let files = every_fixture();
        arguments.extend(files.iter().map(String::as_str));
        arguments.push(&generated);
        let run = parity(&arguments, None);
        assert!(run.ok(), "batch size {size}:\n{}", run.failures());
        let passed: usize = run.last_line().split(' ').next().and_then(|n| n.parse().ok()).expect("a count");
        assert!(passed > 100 && run.last_line() == format!("{passed} passed, 0 failed"), "{}", run.last_line());
        assert_eq!(
            run.stdout.lines().filter(|line| line.starts_with("ok ")).count(),
            passed,
            "one line a scenario or case"
        );
    }
}

#[test]
fn every_fixture_passes_on_sqlite() {
    passes_everywhere("sqlite", &BATCH_SIZES);
}

#[test]
fn every_fixture_passes_on_postgres() {
    // The program starts its own servers: without a URL there is none to use.
    let soak = std::env::var_os("DECISIONGRAPH_SOAK").is_some();
    passes_everywhere("postgres", if soak { &BATCH_SIZES } else { &BATCH_SIZES_POSTGRES });
}

#[tokio::test]
async fn its_databases_are_gone_afterwards() {
    let own = throwaway::Server::start().await.expect("a server");
    let before = databases(&own).await;
    let (_directory, bundle) = scenario_bundle(7, 600, |_, _| ());
    let run = parity(&["check", "--backend", "postgres", &bundle], Some(own.admin_url()));
    assert!(run.ok(), "{}", run.stdout);
    assert_eq!(databases(&own).await, before);
}

async fn databases(server: &throwaway::Server) -> Vec<String> {
    let (client, connection) =
        tokio_postgres::connect(server.admin_url(), tokio_postgres::NoTls).await.expect("connects");
    let connection = tokio::spawn(connection);
    let rows = client.query("SELECT datname::text FROM pg_database ORDER BY 1", &[]).await.expect("answers");
    drop(client);
    let _ = connection.await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Edits one scenario, and checks that the checker names the fault by these words.
fn bites(edit: impl FnOnce(&mut Vec<String>, &mut serde_json::Value), words: &[&str]) {
    let (_directory, bundle) = scenario_bundle(7, 600, edit);
    let run = parity(&["check", &bundle], None);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert_eq!(run.last_line(), "0 passed, 1 failed");
    let line = run.failures();
    for word in words {
        assert!(line.contains(word), "{word} is not in: {line}");
    }
}

#[test]
fn a_wrong_digest_is_named() {
    for name in ["context_graph", "trace_summary", "precedent_index", "full_projection"] {
        let zero = format!("sha256:{}", "0".repeat(64));
        bites(
            |_, digests| digests[name] = zero.as_str().into(),
            &["catch_up: ", &format!("expected_digests.{name}: expected {zero}, got sha256:")],
        );
    }
}

#[test]
fn a_changed_event_is_found_by_the_digests() {
    let change = |events: &mut Vec<String>, _: &mut serde_json::Value| {
        events[0] = events[0].replacen("2026-01-01T00:00:00", "2026-01-01T00:00:59", 1);
    };
    bites(change, &["catch_up: expected_digests.context_graph"]);
}

#[test]
fn a_refused_event_of_a_scenario_is_named() {
    let swap = |events: &mut Vec<String>, _: &mut serde_json::Value| {
        let second = events.iter().position(|event| event.contains("\"trace_seq\":1}")).expect("a second event");
        let moved = events.remove(second);
        events.insert(0, moved);
    };
    bites(swap, &["events[0] is refused: event_sequence_invalid"]);
}

#[test]
fn wrong_rows_verdicts_and_answers_are_named() {
    let bundle = fixtures().join("edge_fixture_bundle.json").display().to_string();
    for (file, from, to, named) in [
        (
            "edge_fixture_bundle.json",
            "\"log_seq\": 1,",
            "\"log_seq\": 999,",
            "catch_up: context_graph.edges[edge_id=trace_involves_entity:trace:t-00001-b0a5a3f06b:entity:\u{fc}nit:sf:opp:1:ev-00005-c74899882d].log_seq: expected 999, got 1",
        ),
        (
            "edge_fixture_bundle.json",
            "\"node_count\": 3",
            "\"node_count\": 4",
            "context_graph.node_count: expected 4, got 3",
        ),
        (
            "edge_fixture_bundle.json",
            "\"projection_cursor\": 1,",
            "\"projection_cursor\": 77,",
            "projection_cursor of context_graph: expected 77, got 1",
        ),
        (
            "append_verdicts.json",
            "\"event_sequence_invalid\"",
            "\"accepted\"",
            "verdicts[1]: expected accepted, got event_sequence_invalid",
        ),
        ("append_verdicts.json", "\"stored_events\": 3", "\"stored_events\": 2", "stored_events: expected 2, got 3"),
        (
            "edge_query_verdicts.json",
            "\"truncated\": false",
            "\"truncated\": true",
            "catch_up: queries[0] subgraph {\"edge_types\":[\"trace_evaluated_policy\",\"trace_cited_precedent\"],\"max_depth\":10,\"max_edges\":4,\"max_nodes\":2,\"node_id\":\"person:a2\",\"node_type\":\"actor\",\"node_types\":null}: truncated: expected true, got false",
        ),
    ] {
        let text = std::fs::read_to_string(fixtures().join(file)).expect("a fixture");
        let edited = text.replacen(from, to, 1);
        assert_ne!(text, edited, "{from} is in {file}");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(file);
        std::fs::write(&path, edited).expect("writes");
        let run = parity(&["check", &path.display().to_string(), "--bundle", &bundle], None);
        assert_eq!(run.code, Some(1), "{file}: {from}");
        assert!(run.last_line().ends_with(" passed, 1 failed"), "exactly the edited one: {}", run.failures());
        assert!(run.failures().contains(named), "{named} is not in: {}", run.failures());
    }
}

#[test]
fn what_cannot_be_checked_is_a_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path.display().to_string()
    };
    let queries =
        r#"{"format":"decisiongraph.query_verdicts","version":1,"scenarios":[{"scenario":"nowhere","queries":[]}]}"#;
    for (path, word) in [
        (file("torn.json", r#"{"format":"decisiongraph.append_verdicts""#), "not JSON"),
        (file("other.json", r#"{"format":"something","version":1}"#), "`format` is \"something\""),
        (file("newer.json", r#"{"format":"decisiongraph.append_verdicts","version":2}"#), "`version`"),
        (file("empty.json", r#"{"format":"decisiongraph.append_verdicts","version":1,"cases":[]}"#), "nothing in it"),
        (file("queries.json", queries), "this scenario is in no bundle"),
        (directory.path().join("absent.json").display().to_string(), "cannot be read"),
    ] {
        let run = parity(&["check", &path], None);
        assert_eq!((run.code, run.last_line()), (Some(1), "0 passed, 1 failed"), "{path}");
        assert!(run.failures().contains(word), "{word}: {}", run.failures());
    }
    assert_eq!(parity(&["check"], None).code, Some(1), "wrong usage is 1, not 2");
    assert_eq!(parity(&["check", "--batch-size", "0", "x"], None).code, Some(1));
}

#[test]
fn a_run_of_the_tests_is_not_led_to_its_users_database() {
    let poison = ["DATABASE_URL", "DECISIONGRAPH_CONFIG", "DECISIONGRAPH_DATA_DIR", "PGHOST", "PGOPTIONS", "PGUSER"];
    let kept = ["CARGO_HOME", "DECISIONGRAPH_SOAK"];
    let mut run = launch::program(env!("CARGO_BIN_EXE_decisiongraph-parity"));
    run.args(["with-postgres", "--", "env"]).envs(poison.map(|name| (name, "poison")));
    let output = run.envs(kept.map(|name| (name, "kept"))).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("poison"), "{text}");
    for name in kept {
        assert!(text.contains(&format!("{name}=kept\n")), "{name}: {text}");
    }
    assert!(text.contains(&format!("{}=postgres://", throwaway::SERVER_VARIABLE)), "{text}");
}
