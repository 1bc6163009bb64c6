//! Stored text on its way to a terminal and to the log: any text stays on its line and controls nothing.

use super::cli_support::node::{Node, wait_until};
use super::cli_support::{Cli, Ended, event, started};
use serde_json::{Value, json};

/// Text that would clear the screen, set a title, reverse letters, and start its own line, if it could.
const HOSTILE: &str = "STORED\u{1b}[31m\u{1b}[2J\u{1b}]0;PWNED\u{7}\u{9b}2J\r\n  next: run `rm`\nSTORED error: x\n\
    2026-11-29T00:00:00.000000Z  INFO STORED\u{202e}\u{2066}\u{61c}\u{200b}\u{feff}\u{e0041}\u{2028}";

/// Checks that the text has no control character, no invisible character, and no line that begins with stored text.
#[track_caller]
fn harmless(what: &str, text: &str) {
    let hidden = "\u{202e}\u{2066}\u{61c}\u{200b}\u{feff}\u{e0041}\u{2028}";
    let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || hidden.contains(*c));
    assert_eq!(bad, None, "{what}: {text:?}");
    for line in text.lines() {
        // The first cell of a table stands behind one space.
        let forged =
            line.starts_with("STORED") || line.trim_start() == "next: run `rm`" || line.starts_with("  STORED");
        assert!(!forged && !line.starts_with("2026-11-29T00:00:00.000000Z"), "{what}: {line:?} of {text}");
    }
}

#[track_caller]
fn both(what: &str, ended: &Ended) {
    harmless(what, &ended.stdout);
    harmless(what, &ended.stderr);
}

/// Returns a trace in which every free text is hostile.
fn hostile_trace(id: &str) -> Vec<Value> {
    let entity = json!({"entity_type": "account", "entity_id": HOSTILE, "system": HOSTILE});
    let policy = json!({"policy_id": HOSTILE, "policy_version": HOSTILE});
    let ended = json!({"outcome": "success"});
    let of = |seq, kind: &str, payload: Value| {
        let mut of = event(id, seq, kind, payload);
        of["actor"] = json!({"actor_type": "agent", "actor_id": HOSTILE});
        of
    };
    vec![
        of(0, "TraceStarted", json!({"workflow": HOSTILE, "title": HOSTILE, "primary_entity": entity})),
        of(1, "PolicyEvaluated", json!({"policy": policy, "inputs": [], "decision": "allow"})),
        of(2, "TraceFinished", ended),
    ]
}

fn lines(events: &[Value]) -> Vec<u8> {
    events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n").into_bytes()
}

#[test]
fn stored_text_steers_no_terminal_and_makes_no_line() {
    let cli = Cli::new();
    let tenant = format!("  {}", &HOSTILE[..HOSTILE.find("2026").expect("a place")]);
    for tenant in ["default", &tenant] {
        let ended = cli.pipe(&["import", "-", "--tenant", tenant], &lines(&hostile_trace(HOSTILE)));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        both("import", &ended);
        assert_eq!(cli.run(&["catch-up", "--tenant", tenant]).code, 0);
    }
    // Refused offers, with a hostile key in the message.
    let mut float = started("float");
    float["payload"][HOSTILE] = json!(1.5);
    let mut conflict = started("other");
    conflict["event_id"] = json!(HOSTILE);
    conflict["idempotency_key"] = json!(format!("{HOSTILE}-0"));
    for offer in [float, conflict] {
        for command in ["import", "append"] {
            let ended = cli.pipe(&[command, "-"], &lines(std::slice::from_ref(&offer)));
            assert_eq!(ended.code, 4, "{command}: {}", ended.stdout);
            both(command, &ended);
        }
    }
    // A poison event in each tenant, and texts given by an operator.
    let store = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    for tenant in ["default", &tenant] {
        let next = lines(&[{
            let mut next = started("poison");
            next["event_id"] = json!(HOSTILE.to_owned() + "poison");
            next
        }]);
        assert_eq!(cli.pipe(&["import", "-", "--tenant", tenant], &next).code, 0);
    }
    store.execute("UPDATE dg_event_log SET payload = '{\"x\":1}' WHERE trace_id = 'poison'", []).expect("writes");
    drop(store);
    for tenant in ["default", &tenant] {
        let ended = cli.run(&["catch-up", "--tenant", tenant]);
        assert_eq!(ended.code, 4, "{}", ended.stdout);
        both("catch-up", &ended);
    }
    let graph = format!("trace:{HOSTILE}");
    let asked: &[&[&str]] = &[
        &["status"],
        &["health"],
        &["why", "--all"],
        &["trace", HOSTILE, "--allow-stale"],
        &["trace", "nosuch"],
        &["trace", HOSTILE, "--tenant", "nosuch"],
        &["events"],
        &["precedents", "--allow-stale"],
        &["edges", &graph, "--allow-stale"],
        &["subgraph", &graph, "--allow-stale"],
        &["subgraph", &graph, "--allow-stale", "--format", "dot"],
        &["subgraph", &graph, "--allow-stale", "--format", "mermaid"],
        &["subgraph", HOSTILE, "--allow-stale"],
        &["failures"],
        &["failure", "1", "--replay"],
        &["runs"],
        &["verify"],
        &["rebuild", "--check"],
        &["digest"],
        &["pause", "--reason", HOSTILE],
        &["status"],
        &["catch-up"],
        &["resume"],
        &["skip", "1", "--reason", HOSTILE],
        &["why", "--projection", HOSTILE],
        &["status", HOSTILE],
        &["cluster"],
    ];
    for tenant in ["default", &tenant] {
        for args in asked {
            let ended = cli.run(&if args.contains(&"--tenant") {
                args.to_vec()
            } else {
                [args, &["--tenant", tenant][..]].concat()
            });
            both(&format!("{args:?}"), &ended);
            assert!(!(ended.stdout.is_empty() && ended.stderr.is_empty()), "{args:?}");
            assert!(args.first() != Some(&"subgraph") || !ended.stdout.contains("%%{"), "{}", ended.stdout);
        }
    }
    // For programs the text is exact, and safe on a terminal too.
    let ended = cli.run(&["events", "--json", "--limit", "1"]);
    assert_eq!(ended.json()["events"][0]["trace_id"], HOSTILE);
    harmless("events --json", &ended.stdout);
}

#[test]
fn stored_text_forges_no_line_of_a_nodes_log() {
    let cli = Cli::new();
    let tenant = &HOSTILE[..HOSTILE.find("STORED\u{202e}").expect("a place")];
    let ended = cli.pipe(&["import", "-", "--tenant", tenant], &lines(&[started("t")]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let store = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    store.execute("UPDATE dg_event_log SET payload = '{\"x\":1}'", []).expect("writes");
    drop(store);
    let node = Node::start(&cli, &[]);
    let log = || std::fs::read_to_string(cli.path("node.log")).expect("reads");
    wait_until("the poison event is logged", || log().contains("a poison event stops the scope"));
    harmless("the log", &log());
    assert!(log().lines().all(|line| line.starts_with("20")), "{}", log());
    for args in [&["tree"][..], &["tree", "--dot"], &["status"], &["health"], &["why"]] {
        both(&format!("{args:?}"), &cli.run(args));
    }
    drop(node);
}
