//! Every command, by its JSON, its text and its exit code, on a real embedded store.

mod cli_support;

use cli_support::{Cli, enterprise, evaluated, finished, started, text, trace, without_times};
use decisiongraph_store::launch;
use serde_json::{Value, json};
use std::io::Read as _;
use std::process::Stdio;

const DIGESTS: [&str; 4] = ["context_graph", "trace_summary", "precedent_index", "full_projection"];

/// Creates a store with the demo's log, applied.
fn company() -> Cli {
    let cli = Cli::new();
    let imported = cli.json(&["import", text(&enterprise())]);
    assert_eq!(imported, json!({"lines": 97, "accepted": 97, "repeated": 0}));
    assert_eq!(cli.json(&["catch-up"])["run"]["state"], "completed");
    cli
}

#[test]
fn every_command_speaks_json_and_text() {
    let cli = company();
    let run = cli.json(&["runs"])["runs"][0]["run_id"].as_str().expect("an id").to_owned();
    let commands: Vec<Vec<&str>> = vec![
        vec!["migrate"],
        vec!["import", "/dev/null"],
        vec!["append", "/dev/null"],
        vec!["validate", "/dev/null"],
        vec!["schema"],
        vec!["schema", "PolicyEvaluated"],
        vec!["catch-up"],
        vec!["replay", "--projection", "trace_summary", "--batch-size", "7"],
        vec!["verify"],
        vec!["rebuild", "--check"],
        vec!["rebuild", "--dry-run"],
        vec!["rebuild"],
        vec!["status"],
        vec!["status", "--tenant", "default", "--projection", "context_graph"],
        vec!["health"],
        vec!["digest"],
        vec!["digest", "--reference"],
        vec!["trace", "discount-acme-2026q3"],
        vec!["traces", "--status", "open"],
        vec!["events", "--limit", "5"],
        vec!["subgraph", "entity:account:acme", "--max-depth", "2"],
        vec!["edges", "entity:account:acme"],
        vec!["precedents", "--policy-id", "discount_cap"],
        vec!["failures"],
        vec!["runs", "--open"],
        vec!["run", &run],
        vec!["demo"],
    ];
    for args in commands {
        assert!(cli.json(&args).is_object(), "{args:?}");
        let text = cli.run(&args);
        assert_eq!(text.code, 0, "{args:?}: {}", text.stderr);
        assert!(!text.stdout.trim().is_empty(), "{args:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli.run(&["completions", shell]).stdout.contains("decisiongraph"));
    }
}

#[test]
fn the_reference_digests_are_those_of_an_independent_fold() {
    let cli = company();
    let digests = cli.json(&["digest", "--reference"]);
    // Computed from the fixture by the reference's rules in another language.
    let expected = [
        "sha256:57dbd2a98fca1832334285f1fd1ecce641bda6c3cb706b42a08b5e4eb85e57a2",
        "sha256:451232eaae3c5e853c02b674da5aa0f713f46c942ea17ed73c37fd2f70738b05",
        "sha256:83ae00a54592cee528f267ac409308aeb25dd4ecf1d903e19afbe7c5e165b47b",
        "sha256:23ab05cb7c28c267620fbee9b5dc257fc3bb99b50e31c186be9e62731f18d56e",
    ];
    for (name, digest) in DIGESTS.into_iter().zip(expected) {
        assert_eq!(digests[name], digest, "{name}");
    }
    assert_eq!(digests["last_log_seq"], 97);
    assert_eq!(digests.as_object().map(serde_json::Map::len), Some(5));
}

#[test]
fn an_export_imports_into_the_same_digests_and_export() {
    let first = company();
    let lines = first.run(&["export"]).stdout;
    assert_eq!(lines.lines().count(), 97);
    let second = Cli::new();
    assert_eq!(second.pipe(&["import", "-"], lines.as_bytes()).code, 0);
    assert_eq!(second.run(&["catch-up", "--batch-size", "7"]).code, 0);
    assert_eq!(without_times(&second.run(&["export"]).stdout), without_times(&lines));
    assert_eq!(second.json(&["digest", "--reference"]), first.json(&["digest", "--reference"]));
    let part = first.run(&["export", "--since", "10", "--until", "12"]).stdout;
    assert_eq!(part.lines().count(), 2);
}

#[test]
fn a_store_goes_from_degraded_to_ok_and_a_stale_read_is_refused() {
    let cli = Cli::new();
    assert_eq!(cli.run(&["health"]).code, 0);
    assert_eq!(cli.pipe(&["import", "-"], trace("t").join("\n").as_bytes()).code, 0);
    assert_eq!(cli.run(&["health"]).code, 10);
    let status = cli.json(&["status"]);
    assert_eq!(status["scopes"][0]["lag"]["events"], 3);
    assert_eq!(status["scopes"][0]["state"], "unowned");
    for query in [
        &["trace", "t", "--json", "--wait", "0"][..],
        &["subgraph", "trace:t", "--json", "--wait", "0.05"],
        &["edges", "trace:t", "--json", "--wait", "0"],
        &["precedents", "--json", "--wait", "0"],
    ] {
        cli.run(query).refused(7, "projection_out_of_date");
        let mut stale = query.to_vec();
        stale.push("--allow-stale");
        let ended = cli.run(&stale);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(ended.json()["stale"]["events"], 3, "{query:?}");
    }
    // One projection catches up part of the way: the reference digests have no common position.
    assert_eq!(cli.run(&["catch-up", "--projection", "context_graph", "--until", "2"]).code, 0);
    cli.run(&["digest", "--reference", "--json"]).refused(7, "projection_out_of_date");
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    assert_eq!(cli.run(&["health"]).code, 0);
    assert_eq!(cli.json(&["status"])["scopes"][0]["state"], "current");
    assert!(cli.json(&["trace", "t"]).get("stale").is_none());
}

#[test]
fn a_query_waits_for_the_projection_it_needs() {
    let cli = Cli::new();
    assert_eq!(cli.pipe(&["import", "-"], trace("t").join("\n").as_bytes()).code, 0);
    let query = cli
        .command(&["subgraph", "trace:t", "--json", "--wait", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    let out = query.wait_with_output().expect("ends");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let reply: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(reply.get("stale").is_none());
    assert!(!reply["nodes"].as_array().expect("nodes").is_empty());
}

#[test]
fn the_graph_is_walked_and_paged_as_the_reference_does() {
    let cli = company();
    let ids = |reply: &Value, list: &str, id: &str| -> Vec<String> {
        let list = reply[list].as_array().expect("a list").iter();
        list.map(|row| row[id].as_str().expect("text").to_owned()).collect()
    };
    let graph = cli.json(&["subgraph", "entity:account:acme"]);
    assert_eq!(
        ids(&graph, "nodes", "node_id"),
        [
            "action:credit-9120",
            "entity:account:acme",
            "trace:discount-acme-2026q1",
            "trace:discount-acme-2026q3",
            "trace:refund-9120"
        ]
    );
    assert_eq!(graph["truncated"], false);
    let graph = cli.json(&["subgraph", "entity:account:acme", "--max-depth", "10", "--max-nodes", "3"]);
    assert_eq!((graph["nodes"].as_array().map(Vec::len), &graph["truncated"]), (Some(3), &json!(true)));
    let graph =
        cli.json(&["subgraph", "trace:change-4712", "--edge-types", "trace_cited_precedent", "--node-types", "trace"]);
    assert_eq!(ids(&graph, "nodes", "node_id"), ["trace:change-4711", "trace:change-4712"]);
    // A type that is filtered out is neither shown nor traversed; its edges are.
    let graph = cli.json(&["subgraph", "trace:change-4711", "--max-depth", "10", "--node-types", "policy,exception"]);
    assert_eq!(
        ids(&graph, "nodes", "node_id"),
        ["exception:exc-4711", "policy:change_freeze:2026-02", "trace:change-4711"]
    );
    for query in ["subgraph", "edges"] {
        let message = cli.run(&[query, "entity:no:such", "--json"]).refused(5, "not_found");
        assert!(message.contains("no node `entity:no:such`"), "{message}");
    }
    // A node is found even when its edges have another direction.
    assert_eq!(cli.json(&["edges", "entity:account:acme", "--direction", "outgoing"])["edges"], json!([]));
    for wrong in [["--max-depth", "11"], ["--max-depth", "-1"], ["--max-nodes", "0"], ["--max-edges", "0"]] {
        cli.run(&["subgraph", "trace:x", "--json", wrong[0], wrong[1]]).refused(2, "invalid_argument");
    }
    for format in ["dot", "mermaid"] {
        let shown = cli.run(&["subgraph", "entity:account:acme", "--format", format]).stdout;
        assert!(shown.contains("trace:discount-acme-2026q1"), "{shown}");
    }

    let whole = cli.json(&["edges", "trace:change-4711", "--direction", "outgoing"]);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut args = vec!["edges", "trace:change-4711", "--direction", "outgoing", "--limit", "2"];
        if !cursor.is_empty() {
            args.extend(["--cursor", &cursor]);
        }
        let page = cli.json(&args);
        paged.extend(ids(&page, "edges", "edge_id"));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(paged, ids(&whole, "edges", "edge_id"));
    assert!(paged.len() > 4);
    cli.run(&["edges", "trace:change-4711", "--direction", "both", "--cursor", &cursor, "--json"])
        .refused(2, "invalid_argument");
    cli.run(&["edges", "trace:change-4711", "--limit", "0", "--json"]).refused(2, "invalid_argument");
}

#[test]
fn precedents_are_of_finished_traces_only_and_arguments_go_together() {
    let cli = company();
    let traces = |args: &[&str]| -> Vec<String> {
        let reply = cli.json(args);
        let hits = reply["hits"].as_array().expect("hits").iter();
        hits.map(|hit| hit["trace_id"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(
        traces(&["precedents", "--policy-id", "discount_cap"]),
        ["discount-acme-2026q3", "discount-globex-2026q1", "discount-acme-2026q1"]
    );
    assert_eq!(
        traces(&["precedents", "--policy-id", "refund_limit", "--outcome", "success"]),
        ["refund-9120", "refund-8841"]
    );
    assert_eq!(traces(&["precedents", "--entity-type", "service", "--outcome", "failure"]), ["change-4711"]);
    for wrong in [&["--policy-version", "1"][..], &["--entity-id", "x"], &["--limit", "0"], &["--limit", "10001"]] {
        let mut args = vec!["precedents", "--json"];
        args.extend(wrong);
        cli.run(&args).refused(2, "invalid_argument");
    }
}

#[test]
fn what_does_not_exist_is_not_found_and_the_hint_helps() {
    let cli = company();
    for args in [
        &["trace", "nosuch", "--json"][..],
        &["failure", "7", "--json"],
        &["run", "01a20000-0000-7000-8000-000000000000", "--json"],
        &["run", "resume", "01a20000-0000-7000-8000-000000000000", "--json"],
        &["cancel", "01a20000-0000-7000-8000-000000000000", "--json"],
    ] {
        cli.run(args).refused(5, "not_found");
    }
    let hint = cli.run(&["trace", "refund-9120", "--tenant", "nobody"]);
    assert_eq!(hint.code, 5);
    assert!(hint.stderr.contains("--tenant: default"), "{}", hint.stderr);
}

#[test]
fn a_tampered_row_is_drift_and_a_rebuild_repairs_it() {
    let cli = company();
    let file = cli.data_dir().join("decisiongraph.db");
    let connection = rusqlite::Connection::open(&file).expect("opens");
    let changed = connection
        .execute("UPDATE dg_trace_summary SET title = 'forged' WHERE trace_id = 'refund-9120'", [])
        .expect("writes");
    assert_eq!(changed, 1);
    drop(connection);
    for command in [&["verify", "--json"][..], &["rebuild", "--dry-run", "--json"]] {
        let ended = cli.run(command);
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        let report = ended.json();
        let row = &report["scopes"][1]["verify"]["first"][0];
        assert_eq!((row["key"].as_str(), row["live"].as_str()), (Some("refund-9120"), Some("forged")), "{report}");
    }
    let text = cli.run(&["verify"]);
    assert_eq!(text.code, 3);
    assert!(text.stdout.contains("DRIFT") && text.stdout.contains("forged"), "{}", text.stdout);
    // The drift is recorded, for operators without the exit code.
    let run = cli.json(&["runs"])["runs"][0].clone();
    let id = run["run_id"].as_str().expect("an id").to_owned();
    assert_eq!(run["result"], "drift in 1 of 3");
    assert_eq!(run["scopes"][1]["verify"]["first"][0]["live"], "forged", "JSON, and no text in it: {run}");
    assert_eq!(cli.json(&["run", &id])["scopes"], run["scopes"]);
    assert!(run["report"].is_string(), "as before");
    assert!(cli.run(&["runs"]).stdout.contains("drift in 1 of 3"));
    let shown = cli.run(&["run", &id]).stdout;
    assert!(shown.contains("  result     drift in 1 of 3") && shown.contains("forged"), "{shown}");
    let status = cli.run(&["status"]).stdout;
    assert!(status.contains("current, drifted") && status.contains(&format!("`decisiongraph run {id}`")), "{status}");
    assert_eq!(cli.json(&["status"])["scopes"][1]["drift"]["run_id"], id.as_str());
    for command in ["health", "why"] {
        let told = cli.run(&[command]).stdout;
        assert!(told.contains("`decisiongraph rebuild --tenant default --projection trace_summary`"), "{told}");
    }
    assert_eq!(cli.run(&["health"]).code, 11);
    assert_eq!(cli.run(&["rebuild"]).code, 0);
    assert_eq!(cli.run(&["health"]).code, 0);
    assert_eq!(cli.run(&["verify"]).code, 0);
    assert_eq!(cli.json(&["runs"])["runs"][0]["result"], "no drift");
}

#[test]
fn a_poison_event_fails_the_job_and_the_health_with_its_category() {
    let cli = company();
    assert_eq!(cli.pipe(&["import", "-"], trace("poisoned").join("\n").as_bytes()).code, 0);
    let connection = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    let corrupted = connection
        .execute("UPDATE dg_event_log SET payload = '{\"outcome\":\"failure\"}' WHERE event_id = 'poisoned-2'", [])
        .expect("writes");
    assert_eq!(corrupted, 1);
    let ended = cli.run(&["catch-up", "--json"]);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert_eq!(ended.json()["run"]["state"], "failed");
    assert_eq!(cli.run(&["health"]).code, 11);
    let failures = cli.json(&["failures"]);
    let id = failures["failures"][0]["failure_id"].to_string();
    let failure = cli.json(&["failure", &id]);
    assert_eq!((failure["event_id"].as_str(), failure["category"].as_str()), (Some("poisoned-2"), Some("conflict")));
    assert!(cli.run(&["failure", &id]).stdout.contains("catch-up"));
    assert_eq!(cli.json(&["rebuild", "--check"])["ready"], false);
    connection
        .execute("UPDATE dg_event_log SET payload = '{\"outcome\":\"success\"}' WHERE event_id = 'poisoned-2'", [])
        .expect("writes");
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    assert_eq!(cli.run(&["health"]).code, 0);
    assert_eq!(cli.json(&["failures"])["failures"], json!([]));
    assert!(!cli.json(&["failures", "--all"])["failures"].as_array().expect("a list").is_empty());
}

#[test]
fn a_poison_event_is_met_again_skipped_and_taken_back() {
    let cli = company();
    assert_eq!(cli.pipe(&["import", "-"], trace("poisoned").join("\n").as_bytes()).code, 0);
    let connection = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    let payload = |text: &str| {
        let sql = "UPDATE dg_event_log SET payload = ?1 WHERE event_id = 'poisoned-2'";
        assert_eq!(connection.execute(sql, [text]).expect("writes"), 1);
    };
    payload(r#"{"outcome":"failure"}"#);
    assert_eq!(cli.run(&["catch-up"]).code, 4);
    let failures = cli.json(&["failures"])["failures"].as_array().expect("a list").clone();
    assert_eq!(failures.len(), 3);
    let ids: Vec<String> = failures.iter().map(|failure| failure["failure_id"].to_string()).collect();
    let failure = cli.json(&["failure", &ids[0], "--replay"]);
    assert_eq!((&failure["replay"]["reproduced"], &failure["replay"]["source"]), (&json!(true), &json!("live rows")));
    assert_eq!(failure["replay"]["digest_before_matches"], true);
    assert!(cli.json(&["failure", &ids[0]]).get("replay").is_none());
    assert!(cli.run(&["failure", &ids[0], "--replay"]).stdout.contains("reproduced; repair its cause"));
    // A skip needs a reason and an open failure.
    assert_eq!(cli.run(&["skip", &ids[0]]).code, 2);
    cli.run(&["skip", &ids[0], "--reason", " ", "--json"]).refused(2, "invalid_argument");
    cli.run(&["skip", "999", "--reason", "r", "--json"]).refused(5, "not_found");
    cli.run(&["skip", &ids[0], "--revoke", "--json"]).refused(5, "not_found");
    for id in &ids {
        let skip = cli.json(&["skip", id, "--reason", "a known fault"]);
        assert_eq!((&skip["event_id"], &skip["reason"]), (&json!("poisoned-2"), &json!("a known fault")));
        assert_eq!(cli.json(&["skip", id, "--reason", "again"]), skip, "the first one stays");
    }
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    let status = cli.json(&["status"]);
    // The seal skips nothing.
    let scopes = status["scopes"].as_array().expect("a list").iter().filter(|scope| scope["projection"] != "seal");
    for scope in scopes {
        assert_eq!((&scope["deviating"], &scope["state"]), (&json!(true), &json!("current")));
    }
    assert!(cli.run(&["status"]).stdout.contains("deviates from the reference"));
    assert_eq!(cli.json(&["digest"])["digests"][0]["deviating"], true);
    // Every command that is asked names the skipped events.
    let listed = cli.json(&["skips"])["skips"].as_array().expect("a list").clone();
    assert_eq!(
        listed.iter().map(|skip| skip["failure_id"].to_string()).collect::<Vec<_>>(),
        ids.iter().rev().cloned().collect::<Vec<_>>()
    );
    assert!(
        listed.iter().all(|skip| skip["reason"] == "a known fault" && skip["skipped_by"].is_string()),
        "{listed:?}"
    );
    assert!(cli.run(&["skips", "--projection", "trace_summary"]).stdout.contains("a known fault"));
    let failure = cli.run(&["failure", &ids[0]]).stdout;
    assert!(failure.contains("  skipped    by ") && failure.contains(": a known fault"), "{failure}");
    let back = format!("`decisiongraph skip {} --revoke --tenant default --projection ", ids[0]);
    assert!(failure.contains(&back), "{failure}");
    assert_eq!(cli.json(&["failure", &ids[0]])["skip"]["event_id"], "poisoned-2");
    let health = cli.run(&["health"]);
    assert_eq!(health.code, 0, "a decision is no fault");
    assert!(
        health.stdout.starts_with("ok (4 scopes)\nok default/context_graph: its rows deviate"),
        "{}",
        health.stdout
    );
    assert!(
        health.stdout.contains("`decisiongraph skips --tenant default --projection context_graph`"),
        "{}",
        health.stdout
    );
    // The log was edited: its seal would say so.
    let verified = cli.run(&["verify", "--no-log"]);
    assert_eq!(verified.code, 0);
    assert!(
        verified.stdout.contains("event poisoned-2, by ") && !verified.stdout.contains("and log agree"),
        "{}",
        verified.stdout
    );
    assert!(verified.stdout.contains("No drift, but not the whole log"), "{}", verified.stdout);
    assert_eq!(cli.json(&["runs"])["runs"][0]["result"], "no drift, 3 skips");
    assert_eq!(cli.json(&["verify", "--no-log"])["scopes"][1]["verify"]["skipped"][0]["event_id"], "poisoned-2");
    // The event is mended and the skip revoked: a rebuild ends the deviation.
    payload(r#"{"outcome":"success"}"#);
    assert_eq!(cli.json(&["failure", &ids[0], "--replay"])["replay"]["reproduced"], false);
    for id in &ids {
        assert!(cli.json(&["skip", id, "--revoke"])["revoked_at"].is_string());
    }
    assert_eq!(cli.json(&["skips"])["skips"], json!([]));
    assert_eq!(cli.json(&["skips", "--all"])["skips"].as_array().map(Vec::len), Some(3));
    assert!(cli.json(&["failure", &ids[0]]).get("skip").is_none());
    assert_eq!(cli.run(&["rebuild"]).code, 0);
    assert_eq!(cli.json(&["digest"])["digests"][0]["deviating"], false);
    assert_eq!(cli.run(&["health"]).stdout, "ok (4 scopes)\n");
    assert!(cli.run(&["verify", "--no-log"]).stdout.contains("No drift: stored digest, rows and log agree."));
}

#[test]
fn a_paused_projection_is_left_alone_until_it_is_resumed() {
    let cli = company();
    let pause = ["pause", "--projection", "trace_summary", "--reason", "under review"];
    let paused = cli.json(&pause);
    assert_eq!(paused["scopes"].as_array().map(Vec::len), Some(1));
    assert_eq!(paused["scopes"][0]["paused"]["reason"], "under review");
    let mut another = pause;
    another[4] = "another reason";
    assert_eq!(cli.json(&another), paused, "the first reason stays");
    assert_eq!(cli.pipe(&["import", "-"], trace("later").join("\n").as_bytes()).code, 0);
    for command in [&["catch-up", "--json"][..], &["catch-up", "--projection", "trace_summary", "--json"]] {
        let message = cli.run(command).refused(4, "conflict");
        assert!(message.contains("is paused by") && message.contains("under review"), "{message}");
    }
    assert_eq!(cli.run(&["catch-up", "--projection", "context_graph"]).code, 0);
    let scope = cli.json(&["status", "--projection", "trace_summary"])["scopes"][0].clone();
    assert_eq!((&scope["state"], &scope["lag"]["events"]), (&json!("paused"), &json!(3)));
    assert!(cli.run(&["status"]).stdout.contains("under review"));
    assert_eq!(cli.run(&["health", "--projection", "trace_summary"]).code, 10);
    for _ in 0..2 {
        assert_eq!(cli.json(&["resume"])["scopes"][1]["paused"], Value::Null);
    }
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    assert_eq!(cli.run(&["health"]).code, 0);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let cli = company();
    let lines: Vec<String> = (0..400).flat_map(|i| trace(&format!("t{i}"))).collect();
    assert_eq!(cli.pipe(&["import", "-"], lines.join("\n").as_bytes()).code, 0);
    let mut child = cli.command(&["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // The export has more to send than a pipe holds when its reader goes.
    let mut begin = [0; 10];
    child.stdout.take().expect("piped").read_exact(&mut begin).expect("reads");
    let out = child.wait_with_output().expect("ends");
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_job_says_who_asked_for_it_and_why() {
    let cli = company();
    let run = cli.json(&["rebuild", "--reason", "the rules changed"])["run"].clone();
    let id = run["run_id"].as_str().expect("an id");
    let shown = cli.json(&["run", id]);
    assert_eq!(shown["reason"], "the rules changed");
    let by = shown["requested_by"].as_str().expect("text");
    assert!(by.contains("uid "), "{by}");
    assert_eq!(cli.json(&["runs"])["runs"][0]["reason"], "the rules changed");
    let page = cli.run(&["run", id]).stdout;
    assert!(page.contains(&format!("asked by   {by}")) && page.contains("reason     the rules changed"), "{page}");
}

#[test]
fn events_are_filtered() {
    let cli = company();
    let ids = |flags: &[&str]| {
        let reply = cli.json(&[&["events"], flags].concat());
        assert_eq!((&reply["mark"], &reply["more"]), (&json!(97), &json!(false)), "{flags:?}");
        reply["events"].as_array().expect("a list").clone()
    };
    let all = ids(&[]);
    assert_eq!(all.len(), 97);
    let is = |key: &'static str, word: &'static str| move |event: &&Value| event[key] == word;
    let started: Vec<Value> = all.iter().filter(is("event_type", "TraceStarted")).cloned().collect();
    assert_eq!(ids(&["--event-type", "TraceStarted"]), started);
    let both = ids(&["--event-type", "TraceStarted", "--event-type", "TraceFinished", "--trace-id", "change-4711"]);
    assert_eq!(both.len(), 2, "{both:?}");
    let actor = &all[0]["actor"];
    let (actor_type, actor_id) =
        (actor["actor_type"].as_str().expect("text"), actor["actor_id"].as_str().expect("text"));
    let of_actor = all.iter().filter(|event| event["actor"] == *actor).count();
    assert_eq!(ids(&["--actor-type", actor_type, "--actor-id", actor_id]).len(), of_actor);
    assert_eq!(ids(&["--event-id", all[5]["event_id"].as_str().expect("text")]), all[5..6]);
    assert_eq!(cli.run(&["events", "--actor-id", "x", "--json"]).code, 2);
    let page = cli.run(&["events", "--event-type", "TraceStarted", "--limit", "2"]).stdout;
    assert!(page.contains(&format!("There are more: --since-log-seq {}", started[1]["log_seq"])), "{page}");
}

#[test]
fn traces_are_listed_with_what_the_log_knows_of_them() {
    let cli = company();
    let open = cli.json(&["traces", "--status", "open"]);
    let open = open["traces"].as_array().expect("a list");
    assert!(!open.is_empty() && open.iter().all(|entry| entry["outcome"].is_null() && entry["status"] == "open"));
    let one = cli.json(&["traces", "--trace-id-prefix", "discount-acme-2026q3"])["traces"][0].clone();
    let trace = cli.json(&["trace", "discount-acme-2026q3"]);
    let events = trace["events"].as_array().expect("a list");
    assert_eq!(one["events_stored"], events.len());
    assert_eq!(one["started_log_seq"], events[0]["log_seq"]);
    assert_eq!(one["last_event"]["log_seq"], events.last().expect("one")["log_seq"]);
    for (member, value) in trace["summary"].as_object().expect("an object") {
        assert_eq!(&one[member], value, "{member}");
    }
    let page = cli.run(&["traces", "--limit", "2"]).stdout;
    let last = cli.json(&["traces", "--limit", "2"])["traces"][1]["started_log_seq"].clone();
    assert!(page.contains(&format!("There are more: --before {last}")), "{page}");
    let refused = cli.run(&["traces", "--occurred-since", "yesterday", "--json"]);
    assert!(refused.refused(2, "invalid_argument").contains("occurred_since"));
    assert_eq!(cli.run(&["traces", "--entity-id", "acme"]).code, 2);
}

#[test]
fn what_a_producer_leaves_out_is_drawn_and_told_line_by_line() {
    let cli = Cli::new();
    let left_out = |mut event: Value| {
        event.as_object_mut().expect("an object").retain(|key, _| key != "event_id" && key != "trace_seq");
        event
    };
    let mut next = left_out(evaluated("t", 1));
    next["trace_seq"] = json!("next");
    let other = evaluated("t", 5);
    let lines = [left_out(started("t")), next.clone(), other, next, left_out(finished("t", 2))];
    let lines = lines.map(|line| line.to_string()).join("\n");
    let ended = cli.pipe(&["append", "-", "--json"], lines.as_bytes());
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    let (verdicts, summary) = ended.verdicts();
    let told = json!({"lines": 5, "accepted": 3, "repeated": 1, "refused": 1, "last_log_seq": 3});
    assert_eq!(summary, told);
    let member = |key: &str| verdicts.iter().map(|verdict| verdict[key].clone()).collect::<Vec<_>>();
    assert_eq!(member("trace_seq"), [json!(0), json!(1), Value::Null, json!(1), json!(2)]);
    assert_eq!(member("trace_id"), [json!("t"), json!("t"), Value::Null, json!("t"), json!("t")]);
    assert_eq!(verdicts[2]["details"], json!({"expected_trace_seq": 2}));
    assert_eq!(verdicts[3]["event_id"], verdicts[1]["event_id"], "a repeat is told the stored id");
    let ids: Vec<uuid::Uuid> =
        [0, 1, 4].map(|at| verdicts[at]["event_id"].as_str().expect("an id").parse().expect("a UUID")).to_vec();
    assert!(ids.is_sorted() && ids.iter().all(|id| id.get_version_num() == 7), "{ids:?}");
    // What an import draws is a repeat when it is offered again.
    let again = cli.pipe(&["import", "-", "--json"], left_out(started("t")).to_string().as_bytes());
    assert_eq!(again.json()["repeated"], 1);
}

#[test]
fn an_interrupted_append_says_so_and_keeps_what_it_acknowledged() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let cli = Cli::new();
    let mut child = cli
        .command(&["append", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    writeln!(stdin, "{}", started("t")).expect("writes");
    stdin.flush().expect("writes");
    let mut line = String::new();
    stdout.read_line(&mut line).expect("reads");
    assert!(line.starts_with("line 1: accepted at 1"), "a verdict does not wait for more input: {line}");
    launch::signal(child.id(), "INT").expect("sent");
    let mut notice = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    while !notice.contains("stopping") {
        assert!(stderr.read_line(&mut notice).expect("reads") > 0, "{notice}");
    }
    // The command ends although its input stays open, and a later write finds no reader.
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    assert!(writeln!(stdin, "{}", evaluated("t", 1)).is_err());
    assert_eq!(cli.json(&["events"])["events"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_interrupted_job_ends_between_batches_and_goes_on_under_its_id() {
    let lines: Vec<String> = (0..1_000).flat_map(|i| trace(&format!("t{i}"))).collect();
    let cli = Cli::new();
    assert_eq!(cli.pipe(&["import", "-"], lines.join("\n").as_bytes()).code, 0);
    let mut child = cli
        .command(&["catch-up", "--batch-size", "1", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // The job is under way as soon as one of its batches is counted.
    let run = loop {
        let runs = cli.json(&["runs", "--open"]);
        match runs["runs"].get(0) {
            Some(run) if run["events"].as_i64() > Some(0) => break run["run_id"].as_str().expect("text").to_owned(),
            _ => assert!(child.try_wait().expect("asks").is_none(), "it ended before anything of it was counted"),
        }
    };
    assert_eq!(cli.json(&["status"])["scopes"][0]["state"], "working");
    assert_eq!(cli.json(&["rebuild", "--check"])["ready"], false);
    launch::signal(child.id(), "INT").expect("sent");
    let out = child.wait_with_output().expect("ends");
    assert_eq!(out.status.code(), Some(130), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&report["run"]["state"], &report["run"]["run_id"]), (&json!("cancelled"), &json!(run)));
    let cursor = report["scopes"][0]["cursor"].as_i64().expect("a position");
    assert!((1..3_000).contains(&cursor), "{cursor}");
    assert_eq!(cli.json(&["status"])["scopes"][0]["cursor"], cursor, "what it reports is what is stored");
    cli.run(&["cancel", &run, "--json"]).refused(4, "conflict");
    let resumed = cli.json(&["run", "resume", &run]);
    assert_eq!((&resumed["run"]["state"], &resumed["run"]["run_id"]), (&json!("completed"), &json!(run)));
    assert_eq!(cli.run(&["verify"]).code, 0);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let cli = company();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let out = cli.command(&["export", "--json"]).stdout(full).output().expect("starts");
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("\"category\":\"storage\""));
}

#[test]
fn the_tour_proves_itself_keeps_its_store_and_never_touches_a_real_one() {
    let cli = Cli::new();
    let kept = cli.path("kept");
    let first = cli.run(&["demo", "--data-dir", text(&kept)]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    for shown in ["discount-acme-2026q3", "graph LR", "digraph", "sha256:23ab05cb7c28", "Proven"] {
        assert!(first.stdout.contains(shown), "{shown}");
    }
    assert_eq!(cli.run(&["demo", "--data-dir", text(&kept)]).code, 0, "it can be taken twice");
    assert_eq!(cli.json(&["status", "--data-dir", text(&kept)])["scopes"].as_array().map(Vec::len), Some(4));
    let real = Cli::filled(&trace("real"));
    let message = real.run(&["demo", "--json", "--data-dir", text(&real.data_dir())]).refused(4, "conflict");
    assert!(message.contains("events of its own"), "{message}");
    assert_eq!(real.json(&["events"])["events"].as_array().map(Vec::len), Some(3));
    assert!(!cli.data_dir().exists(), "without --data-dir nothing is left behind");
}

#[test]
fn positions_are_taken_as_tables_print_them() {
    let cli = Cli::filled(&trace("t"));
    for args in
        [&["events", "--since", "5,306"][..], &["events", "--until", "1,000"], &["trace", "t", "--after", "5,306"]]
    {
        assert_eq!(cli.run(args).code, 0, "{args:?}");
    }
    let refused = cli.run(&["events", "--since", "5,30"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("a whole number, such as 5306 or 5,306"), "{}", refused.stderr);
}

#[test]
fn a_list_that_is_cut_says_so_and_goes_on() {
    let cli = Cli::filled(&trace("t"));
    for _ in 0..2 {
        assert_eq!(cli.run(&["verify"]).code, 0);
    }
    let first = cli.json(&["runs", "--limit", "2"]);
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["runs"].as_array().expect("a list").iter().map(|run| run["run_id"].to_string()).collect()
    };
    assert_eq!((ids(&first).len(), &first["more"]), (2, &true.into()));
    let last = ids(&first)[1].trim_matches('"').to_owned();
    assert!(cli.run(&["runs", "--limit", "2"]).stdout.ends_with(&format!("There are more: --after {last}\n")));
    let rest = cli.json(&["runs", "--limit", "2", "--after", &last]);
    assert_eq!((ids(&rest).len(), &rest["more"]), (1, &false.into()));
    assert!(!ids(&first).contains(&ids(&rest)[0]));
    let all = trace("u").into_iter().chain(trace("v")).collect::<Vec<_>>().join("\n");
    assert_eq!(cli.pipe(&["import", "-"], all.as_bytes()).code, 0);
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    let cut = cli.json(&["precedents", "--limit", "2"]);
    assert_eq!((cut["hits"].as_array().map(Vec::len), &cut["more"]), (Some(2), &true.into()));
    assert!(cli.run(&["precedents", "--limit", "2"]).stdout.contains("There are more: "));
    assert_eq!(cli.json(&["precedents", "--limit", "3"])["more"], false);
}

#[test]
fn identities_are_kept_as_hashes_and_a_token_is_shown_once() {
    let cli = Cli::new();
    let path = cli.path("identities.json");
    let file = text(&path);
    let added = cli.run(&["identity", "add", "bot", "--role", "appender", "--tenants", "acme,globex", "--file", file]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    let token = added.stdout.trim().to_owned();
    assert!(token.starts_with("dg_") && added.stderr.contains("shown this once"), "{}", added.stderr);
    let kept = std::fs::read_to_string(&path).expect("the file");
    assert!(!kept.contains(&token) && kept.contains("\"hash\""), "{kept}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("facts").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let listed = cli.json(&["identity", "list", "--file", file]);
    assert_eq!(listed["identities"][0]["rights"], serde_json::json!(["append"]));
    assert_eq!(listed["identities"][0]["tenants"], serde_json::json!(["acme", "globex"]));
    cli.run(&["--json", "identity", "add", "bot", "--role", "reader", "--file", file]).refused(4, "conflict");
    cli.run(&["--json", "identity", "add", "other", "--file", file]).refused(2, "invalid_argument");
    cli.run(&["--json", "identity", "rotate", "nobody", "--file", file]).refused(5, "not_found");
    let rotated = cli.json(&["identity", "rotate", "bot", "--note", "second", "--file", file]);
    let id = rotated["token_id"].as_str().expect("an id");
    let tokens = cli.json(&["identity", "list", "--file", file])["identities"][0]["tokens"].clone();
    assert_eq!(tokens.as_array().expect("tokens").len(), 2);
    assert_eq!(cli.run(&["identity", "revoke", "bot", "--token", id, "--file", file]).code, 0);
    cli.run(&["--json", "identity", "revoke", "bot", "--token", id, "--file", file]).refused(5, "not_found");
    assert_eq!(cli.run(&["identity", "revoke", "bot", "--file", file]).code, 0);
    assert_eq!(cli.json(&["identity", "list", "--file", file])["identities"], serde_json::json!([]));
}

#[test]
fn the_schemas_are_listed_and_an_unknown_one_is_refused_with_the_nearest() {
    let cli = Cli::new();
    let listed = cli.json(&["schema"])["schemas"].as_array().expect("a list").clone();
    assert_eq!(listed.len(), 12, "eleven types and the envelope");
    for schema in &listed {
        let name = schema["name"].as_str().expect("a name");
        let found = cli.json(&["schema", name]);
        assert_eq!((&found["title"], &found["type"]), (&json!(name), &json!("object")));
        let shown = cli.run(&["schema", name]);
        assert_eq!(serde_json::from_str::<Value>(&shown.stdout).expect("JSON"), found);
        assert!(cli.run(&["schema"]).stdout.contains(name));
    }
    let unknown = cli.run(&["schema", "PolicyEvaluatd"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("a similar value exists: 'PolicyEvaluated'"), "{}", unknown.stderr);
    let unknown = cli.run(&["--json", "schema", "PolicyEvaluatd"]);
    assert!(unknown.stderr.contains("\"next\":\"a similar value exists: 'PolicyEvaluated'\""), "{}", unknown.stderr);
    assert!(!cli.data_dir().exists(), "nothing was opened");
}
