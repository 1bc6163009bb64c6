//! Promises of admin over the actor protocol: a node answers every command as a local process would. It does so over
//! its socket and over TCP, once, at any size. Real node processes, the real binary.

mod cli_support;

use cli_support::node::{Node, PATIENCE, applied, poisoned, wait_until, within};
use cli_support::{Cli, Ended, enterprise, started, text, trace};
use decisiongraph_store::launch;
use serde_json::{Value, json};
use std::process::Stdio;

/// Removes the fields that differ between two equal runs: times, places, identities, and the share of the work that a
/// node's workers did before a job came.
fn scrub(value: &mut Value) {
    const VOLATILE: [&str; 24] = [
        "run_id",
        "seconds",
        "node",
        "cursor_age_seconds",
        "rate_source",
        "database",
        "active_run",
        "epoch",
        "owner",
        "owner_live",
        "live",
        "live_on",
        "node_live",
        "why",
        "generation",
        "live_generation",
        "old_generation",
        "requested_by",
        // Of the seal: its salts are drawn, and a node signs in its own time.
        "root",
        "from_entries",
        "sealed_since",
        "checkpoints",
        "newest_checkpoint",
        "memories",
    ];
    const WORK: [&str; 3] = ["events", "batches", "from"];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let name = name.as_str();
                !(name.ends_with("_at") || VOLATILE.contains(&name) || (WORK.contains(&name) && value.is_number()))
            });
            fields.values_mut().for_each(scrub);
            // The report of a run is JSON inside JSON.
            if let Some(Value::String(report)) = fields.get("report")
                && let Ok(mut inner) = serde_json::from_str::<Value>(report)
            {
                scrub(&mut inner);
                fields.insert("report".to_owned(), inner);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        _ => {}
    }
}

/// Returns exit code, stdout and stderr without the fields that differ between equal runs. Each line is one object.
fn told(ended: &Ended) -> (i32, Vec<Value>, Vec<Value>) {
    let objects = |text: &str| {
        let mut values: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned())))
            .collect();
        values.iter_mut().for_each(scrub);
        values
    };
    (ended.code, objects(&ended.stdout), objects(&ended.stderr))
}

/// Lists every command, in an order in which each has something to do.
fn script() -> Vec<Vec<String>> {
    let lines = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    vec![
        lines(&["migrate"]),
        lines(&["import", text(&enterprise())]),
        lines(&["import", text(&enterprise())]),
        lines(&["catch-up"]),
        lines(&["replay", "--projection", "trace_summary"]),
        lines(&["rebuild", "--check"]),
        lines(&["rebuild"]),
        lines(&["rebuild", "--dry-run"]),
        lines(&["verify", "--projection", "context_graph"]),
        lines(&["status", "--tenant", "default"]),
        lines(&["health"]),
        lines(&["digest"]),
        lines(&["digest", "--reference"]),
        lines(&["trace", "discount-acme-2026q3"]),
        lines(&["trace", "no-such-trace"]),
        lines(&["traces", "--limit", "3"]),
        lines(&["traces", "--status", "open", "--order", "finished"]),
        lines(&["traces", "--occurred-since", "yesterday"]),
        lines(&["events", "--limit", "7"]),
        lines(&["events", "--limit", "70000"]),
        lines(&["subgraph", "entity:account:acme", "--max-depth", "2"]),
        lines(&["edges", "entity:account:acme"]),
        lines(&["precedents", "--policy-id", "discount_cap"]),
        lines(&["failures", "--all"]),
        lines(&["failure", "7"]),
        lines(&["runs"]),
        lines(&["run", "01970000-0000-7000-8000-000000000000"]),
        lines(&["run", "resume", "01970000-0000-7000-8000-000000000000"]),
        lines(&["cancel", "01970000-0000-7000-8000-000000000000"]),
        lines(&["catch-up", "--projection", "nonsense"]),
        lines(&["export", "--all-tenants"]),
        lines(&["export", "--since", "10", "--until", "20"]),
    ]
}

#[test]
fn a_node_answers_every_command_as_this_process_would() {
    let (alone, socketed, wired) = (Cli::new(), Cli::new(), Cli::new());
    // A node migrates the schema when it starts.
    assert_eq!(alone.run(&["migrate"]).code, 0);
    let on_socket = Node::start(&socketed, &[]);
    let on_tcp = Node::start(&wired, &[]);
    let offered = [started("extra").to_string(), "{}".to_owned(), started("extra").to_string()].join("\n");
    let ask = |cli: &Cli, args: &[String], flags: &[&str]| {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend_from_slice(flags);
        args.push("--json");
        let mut ended = if args[0] == "append" { cli.pipe(&args, offered.as_bytes()) } else { cli.run(&args) };
        // The suggested commands carry the flags of the asking command.
        if !flags.is_empty() {
            ended.stderr = ended.stderr.replace(&format!(" {}", flags.join(" ")), "");
        }
        told(&ended)
    };
    let mut script = script();
    script.push(vec!["append".to_owned(), "-".to_owned()]);
    for args in script {
        if args[0] == "catch-up" {
            applied(&socketed);
            applied(&wired);
        }
        let expected = ask(&alone, &args, &[]);
        assert_eq!(ask(&socketed, &args, &[]), expected, "{args:?} over the socket");
        assert_eq!(ask(&wired, &args, &on_tcp.over_tcp()), expected, "{args:?} over TCP");
    }
    // The runs belong to the node: the commands went there.
    let runs = socketed.json(&["runs"]);
    assert!(runs["runs"][0]["node"] == on_socket.name.as_str(), "{runs}");
    let run = runs["runs"][0]["run_id"].as_str().expect("an id").to_owned();
    assert_eq!(socketed.json(&["run", &run])["run_id"], run.as_str());
}

#[test]
fn a_named_database_is_opened_here_and_a_named_node_comes_before_the_environment() {
    let cli = Cli::filled(&trace("here"));
    let elsewhere = Cli::new();
    let node = Node::start(&elsewhere, &[]);
    let database = format!("sqlite:{}", cli.data_dir().join("decisiongraph.db").display());
    let events = |output: std::process::Output| Ended::of(output).json()["events"].as_array().map(Vec::len);
    let flags = node.over_tcp();
    let both = [&["events", "--json", "--database", &database], &flags[..]].concat();
    assert_eq!(events(elsewhere.command(&both).output().expect("starts")), Some(3));
    let named = [&["events", "--json"], &flags[..]].concat();
    assert_eq!(events(cli.command(&named).env("DATABASE_URL", &database).output().expect("starts")), Some(0));
    let local = elsewhere.command(&["events", "--json"]).env("DATABASE_URL", &database).output();
    assert_eq!(events(local.expect("starts")), Some(0), "the node in the data directory comes before DATABASE_URL");
    drop(node);
    let alone = elsewhere.command(&["events", "--json"]).env("DATABASE_URL", &database).output();
    assert_eq!(events(alone.expect("starts")), Some(3), "a node that is gone is not asked");
}

#[test]
fn the_same_request_does_nothing_twice_even_after_the_node_died() {
    let cli = Cli::new();
    let mut node = Node::start(&cli, &[]);
    assert_eq!(cli.pipe(&["import", "-"], trace("t").join("\n").as_bytes()).code, 0);
    let id = "01970000-0000-7000-8000-00000000abcd";
    let again = ["catch-up", "--request-id", id];
    let first = cli.json(&again);
    assert_eq!(first["run"]["run_id"], id);
    assert_eq!(cli.pipe(&["import", "-"], trace("u").join("\n").as_bytes()).code, 0);
    assert_eq!(cli.json(&again), first, "it is answered again");
    node.signal("KILL");
    assert_eq!(node.ended(), None);
    let _node = Node::start(&cli, &[]);
    assert_eq!(cli.json(&again)["scopes"], first["scopes"], "also by a node that never heard of it");
    assert_eq!(cli.json(&["runs"])["runs"].as_array().map(Vec::len), Some(1));
    let other = cli.run(&["verify", "--request-id", id, "--json"]);
    assert!(other.refused(4, "idempotency_conflict").contains(id));
}

#[test]
fn requests_and_answers_of_any_size_arrive_whole() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let large: Vec<String> = (0..10)
        .map(|i| {
            let id = format!("t{i}");
            let mut line = started(&id);
            line["payload"]["note"] = json!(format!("\\\"\u{1}{}", "é".repeat(1_000_000)));
            line.to_string()
        })
        .collect();
    let flags = node.over_tcp();
    let ended = cli.pipe(&[&["import", "-"], &flags[..]].concat(), large.join("\n").as_bytes());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let database = format!("sqlite:{}", cli.data_dir().join("decisiongraph.db").display());
    let here = cli.run(&["events", "--json", "--database", &database]);
    assert!(here.stdout.len() > 4 * 1024 * 1024, "{}", here.stdout.len());
    assert_eq!(here.json()["more"], true, "an answer has a bound of bytes");
    let there = cli.run(&[&["events", "--json"], &flags[..]].concat());
    assert_eq!((there.code, there.stderr.as_str()), (0, ""));
    assert!(there.stdout == here.stdout, "the answer arrives as it was");
    assert!(cli.run(&["export"]).stdout == cli.run(&["export", "--database", &database]).stdout);
}

#[test]
fn a_job_is_left_to_the_node_or_followed_and_stopped() {
    let cli = Cli::new();
    let _node = Node::start(&cli, &["--batch-size", "1"]);
    let lines: Vec<String> = (0..1_000).flat_map(|i| trace(&format!("t{i}"))).collect();
    assert_eq!(cli.pipe(&["import", "-"], lines.join("\n").as_bytes()).code, 0);
    let child =
        cli.command(&["rebuild", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    wait_until("the job is under way", || cli.json(&["runs", "--open"])["runs"][0]["events"].as_i64() > Some(0));
    launch::signal(child.id(), "INT").expect("sent");
    let ended = Ended::of(child.wait_with_output().expect("ends"));
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert_eq!(ended.json()["run"]["state"], "cancelled");

    let left = cli.json(&["rebuild", "--detach"]);
    let run = left["run_id"].as_str().expect("an id").to_owned();
    assert_eq!(left["state"], "running");
    wait_until("the job goes on by itself", || cli.json(&["run", &run])["events"].as_i64() > Some(0));
    assert_eq!(cli.json(&["cancel", &run])["cancel_requested"], true);
    wait_until("it stops", || cli.json(&["run", &run])["state"] == "cancelled");
    let resumed = cli.json(&["run", "resume", &run, "--detach"]);
    assert_eq!(resumed["run_id"], run.as_str());
    cli.json(&["cancel", &run]);

    let alone = Cli::filled(&trace("t"));
    alone.run(&["verify", "--detach", "--json"]).refused(2, "invalid_argument");
    cli.run(&["verify", "--batch-size", "5", "--json"]).refused(2, "invalid_argument");
}

#[test]
fn a_poison_event_ends_a_job_of_a_node_with_its_category() {
    let cli = Cli::new();
    poisoned(&cli);
    let _node = Node::start(&cli, &[]);
    let ended = within(PATIENCE, cli.command(&["catch-up", "--json"]));
    assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.json()["run"]["state"], "failed");
    let failures = cli.json(&["failures"]);
    assert_eq!(failures["failures"][0]["log_seq"], 2, "{failures}");
}
