//! For any fault of the input, the answer names it and has its category and exit code. Nothing is half written.

mod cli_support;
#[path = "cli_bad_input/hostile_texts.rs"]
mod hostile_texts;

use cli_support::{Cli, evaluated, event, started, text, trace};
use serde_json::{Value, json};

/// Returns a line whose payload has one wrong member, written by hand where serde_json cannot produce it.
fn line_with(payload: &str) -> String {
    started("bad").to_string().replace(&started("bad")["payload"].to_string(), payload)
}

/// Lists the bad lines, each alone behind one good trace, with category, line number and a word of the message.
fn matrix() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let entity = r#""primary_entity":{"entity_type":"a","entity_id":"b"}"#;
    let with = |member: &str| line_with(&format!(r#"{{"workflow":"w","title":"t",{entity},{member}}}"#)).into_bytes();
    let mut not_utf8 = with(r#""x":"?""#);
    let place = not_utf8.iter().rposition(|byte| *byte == b'?').expect("there");
    not_utf8[place] = 0xff;
    let truncated = started("bad").to_string();
    vec![
        ("truncated", truncated.as_bytes()[..truncated.len() - 9].to_vec(), "schema_violation", "not JSON"),
        ("byte order mark", format!("\u{feff}{truncated}").into_bytes(), "schema_violation", "byte order mark"),
        ("float", with(r#""x":1.5"#), "schema_violation", "float"),
        ("exponent", with(r#""x":[{"y":1e3}]"#), "schema_violation", "float"),
        ("NaN", with(r#""x":NaN"#), "schema_violation", ""),
        (
            "10 MB line",
            format!("{{\"x\":\"{}\"}}", "y".repeat(10_000_000)).into_bytes(),
            "invalid_argument",
            "longer than",
        ),
        ("not UTF-8", not_utf8, "invalid_argument", "not UTF-8"),
        ("lone surrogate", with(r#""x":"\ud800""#), "invalid_argument", "surrogate"),
        ("U+0000", with(r#""x":"\u0000""#), "invalid_argument", "U+0000"),
        ("unknown type", event("bad", 0, "TraceBegun", json!({})).to_string().into_bytes(), "schema_violation", ""),
        (
            "deep nesting",
            with(&format!(r#""x":{}{}"#, "[".repeat(10_000), "]".repeat(10_000))),
            "schema_violation",
            "deep",
        ),
        ("not an object", b"[1]".to_vec(), "schema_violation", "object"),
        ("no payload", br#"{"event_id":"e"}"#.to_vec(), "schema_violation", "payload"),
        (
            "a day that is not",
            started("bad").to_string().replace("2026-01-01T", "2026-02-29T").into_bytes(),
            "schema_violation",
            "`occurred_at`",
        ),
        (
            "a secret",
            with(r#""x":["","password=hunter2"]"#),
            "pii_violation",
            "`payload.x[1]` contains what looks like a password",
        ),
        ("wrong sequence", evaluated("bad", 3).to_string().into_bytes(), "event_sequence_invalid", ""),
        ("behind the end", evaluated("good", 3).to_string().into_bytes(), "conflict", ""),
        (
            "wrong hash",
            {
                let mut event = started("bad");
                event["payload_hash"] = json!("sha256:00");
                event.to_string().into_bytes()
            },
            "conflict",
            "payload_hash",
        ),
        (
            "reused key",
            {
                let mut event = started("other");
                event["idempotency_key"] = json!("good-0");
                event.to_string().into_bytes()
            },
            "idempotency_conflict",
            "",
        ),
        (
            "wrong tenant",
            {
                let mut event = started("bad");
                event["tenant_id"] = json!("");
                event.to_string().into_bytes()
            },
            "invalid_argument",
            "tenant",
        ),
    ]
}

fn exit_of(category: &str) -> i32 {
    if category == "invalid_argument" { 2 } else { 4 }
}

#[test]
fn import_stops_at_the_bad_line_and_leaves_no_half_batch() {
    for (what, bad, category, word) in matrix() {
        let cli = Cli::new();
        let mut input = trace("good").join("\n").into_bytes();
        input.push(b'\n');
        assert_eq!(cli.pipe(&["import", "-"], &input).code, 0);
        // The good new line before the bad one belongs to the same batch of lines. It must not be stored either.
        let mut input = started("new").to_string().into_bytes();
        input.extend_from_slice(b"\n\n");
        input.extend_from_slice(&bad);
        input.push(b'\n');
        input.extend_from_slice(started("later").to_string().as_bytes());
        let ended = cli.pipe(&["import", "-", "--json"], &input);
        let message = ended.refused(exit_of(category), category);
        assert!(message.starts_with("line 3"), "{what}: {message}");
        assert!(message.contains(word), "{what}: {message}");
        assert!(message.contains("nothing was stored"), "{what}: {message}");
        let events = cli.json(&["events"]);
        assert_eq!(events["events"].as_array().map(Vec::len), Some(3), "{what}: {events}");
    }
}

#[test]
fn append_goes_on_behind_each_bad_line() {
    let cli = Cli::new();
    let cases = matrix();
    let mut input = trace("good").join("\n").into_bytes();
    for (_, bad, ..) in &cases {
        input.push(b'\n');
        input.extend_from_slice(bad);
    }
    input.push(b'\n');
    input.extend_from_slice(started("last").to_string().as_bytes());
    let ended = cli.pipe(&["append", "-", "--json"], &input);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    let (verdicts, summary) = ended.verdicts();
    assert_eq!((&summary["accepted"], &summary["refused"]), (&json!(4), &json!(cases.len())), "{summary}");
    for (i, (what, _, category, _)) in cases.iter().enumerate() {
        let verdict = &verdicts[3 + i];
        assert_eq!(verdict["line"], json!(4 + i), "{what}");
        assert_eq!(
            (verdict["verdict"].as_str(), verdict["category"].as_str()),
            (Some("refused"), Some(*category)),
            "{what}"
        );
    }
    // A refused line draws no position.
    assert_eq!(verdicts.last().expect("one")["log_seq"], json!(4));
    let again = cli.pipe(&["append", "-", "--json"], trace("good").join("\n").as_bytes());
    assert_eq!((again.code, &again.verdicts().1["repeated"]), (0, &json!(3)));
}

#[test]
fn what_looks_odd_but_is_legal_is_taken() {
    let cli = Cli::new();
    let odd = r#"{"workflow":"w","workflow":"last wins","title":"\ud83d\ude00 \u2028 é","primary_entity":{"entity_type":"a:b","entity_id":"c"},"big":123456789012345678901234567890,"minus":-0,"dup":1,"dup":2}"#;
    let line = format!("{}\r\n\u{20}\n", line_with(odd));
    assert_eq!(cli.pipe(&["import", "-"], line.as_bytes()).code, 0);
    let exported = cli.run(&["export"]).stdout;
    assert!(exported.contains("\"big\":123456789012345678901234567890"), "{exported}");
    assert!(
        exported.contains("\"minus\":0") && exported.contains("\"dup\":2") && !exported.contains("\"dup\":1"),
        "{exported}"
    );
    assert_eq!(exported.lines().count(), 1, "U+2028 is data");
    let events = cli.run(&["events", "--json"]).stdout;
    assert!(events.contains("123456789012345678901234567890"), "digit for digit: {events}");
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    assert_eq!(cli.json(&["trace", "bad"])["summary"]["workflow"], "last wins");
}

#[test]
fn an_import_of_many_lines_says_what_stands_before_the_bad_one_and_can_be_run_again() {
    let cli = Cli::new();
    let mut lines: Vec<String> = (0..700).flat_map(|i| trace(&format!("t{i}"))).collect();
    let good = lines.join("\n");
    lines[1_234] = "{".to_owned();
    let ended = cli.pipe(&["import", "-", "--json"], lines.join("\n").as_bytes());
    let message = ended.refused(4, "schema_violation");
    assert!(
        message.starts_with("line 1235:")
            && message.contains("1,000 new events")
            && message.contains("up to line 1000"),
        "{message}"
    );
    let last = cli.json(&["events", "--since-log-seq", "999"]);
    assert_eq!(last["events"].as_array().map(Vec::len), Some(1), "a chunk is atomic: {last}");
    let again = cli.pipe(&["import", "-", "--json"], good.as_bytes());
    assert_eq!(again.json(), json!({"lines": 2100, "accepted": 1100, "repeated": 1000}));
}

#[test]
fn everyday_words_are_taken_and_the_references_guard_refuses_them_by_name() {
    let words = ["Anastasia Petrova", "task-17", "service desk-2", "Slovakia", "https://x.example/?page_token=abc"];
    let events = words.iter().enumerate().map(|(i, word)| {
        let mut event = started(&format!("w{i}"));
        event["payload"]["title"] = json!(word);
        event["actor"]["actor_id"] = json!(word);
        event.to_string()
    });
    let lines = events.collect::<Vec<_>>().join("\n");
    let cli = Cli::new();
    let ended = cli.pipe(&["append", "-", "--credential-guard", "reference", "--json"], lines.as_bytes());
    assert_eq!((ended.code, &ended.verdicts().1["refused"]), (4, &json!(words.len())));
    let message = cli.pipe(&["import", "-", "--credential-guard", "reference", "--json"], lines.as_bytes());
    let message = message.refused(4, "pii_violation");
    assert!(message.contains("`payload.title` contains `ASIA`"), "{message}");
    let mut command = cli.command(&["import", "-", "--json"]);
    command.env("DECISIONGRAPH_CREDENTIAL_GUARD", "reference");
    cli_support::Ended::piped(command, lines.as_bytes()).refused(4, "pii_violation");
    assert_eq!(cli.pipe(&["import", "-", "--json"], lines.as_bytes()).json()["accepted"], json!(words.len()));
    cli.run(&["import", "-", "--credential-guard", "none", "--json"]).refused(2, "invalid_argument");
}

#[test]
fn a_file_that_is_no_json_lines_is_named_with_the_command_that_makes_lines_of_it() {
    let cli = Cli::new();
    let pretty = serde_json::to_string_pretty(&started("t")).expect("JSON");
    let utf_16 = format!("\u{feff}{}", started("t")).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for (name, bytes, what, program) in [
        ("pretty.json", pretty.clone().into_bytes(), "objects that span several lines", "jq -c ."),
        ("array.json", format!("[{pretty}]").into_bytes(), "a JSON array", "jq -c '.[]'"),
        ("log.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "gzip", "gzip -dc"),
        ("log.txt", utf_16, "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    ] {
        let file = cli.file(name, &bytes);
        for command in ["import", "append"] {
            let ended = cli.run(&[command, text(&file)]);
            assert_eq!(ended.code, 2, "{}", ended.stderr);
            assert!(ended.stderr.contains(what), "{}", ended.stderr);
            let next = format!("run `{program} {} | decisiongraph {command} -`", text(&file));
            assert!(ended.stderr.contains(&next), "{}", ended.stderr);
            let piped = cli.pipe(&[command, "-", "--json"], &bytes);
            assert!(piped.refused(2, "invalid_argument").contains(what), "{}", piped.stderr);
        }
    }
}

#[test]
fn a_file_of_many_tenants_goes_to_each() {
    let cli = Cli::new();
    let mut lines = Vec::new();
    for tenant in ["a", "b"] {
        let mut event = started("same");
        event["tenant_id"] = json!(tenant);
        lines.push(event.to_string());
    }
    lines.push(started("same").to_string());
    assert_eq!(cli.pipe(&["import", "-", "--tenant", "c"], lines.join("\n").as_bytes()).code, 0);
    for tenant in ["a", "b", "c"] {
        assert_eq!(cli.json(&["events", "--tenant", tenant])["events"].as_array().map(Vec::len), Some(1));
    }
    let all = cli.run(&["export", "--all-tenants"]).stdout;
    let tenants: Vec<Value> =
        all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["tenant_id"].clone()).collect();
    assert_eq!(tenants, [json!("a"), json!("b"), json!("c")]);
}

#[test]
fn databases_that_cannot_be_used_are_named() {
    let cli = Cli::new();
    let log = cli.file("log.jsonl", trace("t").join("\n"));
    let message = cli.run(&["status", "--json", "--database", "mysql://h/d"]).refused(2, "invalid_argument");
    assert!(message.starts_with("--database"), "{message}");
    let mut command = cli.command(&["status", "--json"]);
    let out = command.env("DATABASE_URL", "nonsense").output().expect("starts");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("DATABASE_URL"));

    let nowhere = format!("sqlite:{}", text(&cli.path("nowhere.db")));
    cli.run(&["status", "--json", "--database", &nowhere]).refused(6, "unavailable");
    assert!(!cli.path("nowhere.db").exists(), "looking creates nothing");

    let corrupt =
        cli.file("corrupt.db", "this is no database, but long enough to look like a header of one".repeat(40));
    for command in [vec!["status"], vec!["import", text(&log)]] {
        let address = format!("sqlite:{}", text(&corrupt));
        let mut args = command.clone();
        args.extend(["--json", "--database", &address]);
        let message = cli.run(&args).refused(1, "storage");
        assert!(message.contains("corrupt.db") || message.contains("not a database"), "{message}");
    }
    cli.run(&["import", "/nowhere/at/all.jsonl", "--json"]).refused(5, "not_found");
    cli.run(&["import", text(cli.dir.path()), "--json"]).refused(2, "invalid_argument");
    // A directory in place of a file. Then a directory that cannot be made, because a file is in its way.
    cli.run(&["status", "--json", "--data-dir", text(&log)]).refused(1, "storage");
    let directory = format!("sqlite:{}", text(cli.dir.path()));
    assert_ne!(cli.run(&["status", "--json", "--database", &directory]).code, 0);
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let cli = Cli::filled(&trace("t"));
    let file = cli.data_dir().join("decisiongraph.db");
    let connection = rusqlite::Connection::open(&file).expect("opens");
    connection
        .execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (9999, 'future', '2030-01-01T00:00:00Z', '1')",
            [],
        )
        .expect("writes");
    // The schema still serves this program: everything works, except a migration that would go backwards.
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    cli.run(&["migrate", "--json"]).refused(8, "version_mismatch");
    connection.execute("UPDATE dg_schema SET serves_from = 9999", []).expect("writes");
    drop(connection);
    for command in [&["status", "--json"][..], &["migrate", "--json"], &["catch-up", "--json"]] {
        let message = cli.run(command).refused(8, "version_mismatch");
        assert!(message.contains("9999"), "{message}");
    }
}

#[test]
fn usage_errors_are_exit_2_in_both_forms() {
    let cli = Cli::new();
    for args in [
        &["nosuch"][..],
        &["subgraph"],
        &["catch-up", "--batch-size", "0"],
        &["catch-up", "--until", "-1"],
        &["run", "not-a-uuid"],
        &["status", "--tenant", ""],
        &["rebuild", "--check", "--dry-run"],
    ] {
        assert_eq!(cli.run(args).code, 2, "{args:?}");
        let mut json = args.to_vec();
        json.push("--json");
        cli.run(&json).refused(2, "invalid_argument");
    }
    cli.run(&["catch-up", "--projection", "nosuch", "--json"]).refused(2, "invalid_argument");
    assert_eq!(cli.run(&["--help"]).code, 0);
    assert_eq!(cli.run(&["--version"]).code, 0);
}

/// Runs the program without the privileges of root, which file permissions do not bind.
fn as_nobody(cli: &Cli, args: &[&str]) -> cli_support::Ended {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;
    let mut command = cli.command(args);
    if std::fs::metadata("/proc/self").expect("a process").uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    cli_support::Ended::of(command.output().expect("starts"))
}

#[test]
fn a_store_that_may_only_be_read_answers_questions_and_refuses_changes() {
    use std::os::unix::fs::PermissionsExt as _;
    let cli = Cli::filled(&trace("t"));
    let log = cli.file("more.jsonl", trace("more").join("\n"));
    let set = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("sets");
    };
    set(cli.dir.path(), 0o755);
    for entry in std::fs::read_dir(cli.data_dir()).expect("lists") {
        set(&entry.expect("an entry").path(), 0o444);
    }
    set(&cli.data_dir(), 0o555);
    let store = format!("sqlite:{}", text(&cli.data_dir().join("decisiongraph.db")));
    for command in [&["status", "--json"][..], &["trace", "t", "--json"]] {
        let ended = as_nobody(&cli, &[command, &["--database", &store]].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    for command in [&["import", text(&log), "--json"][..], &["catch-up", "--json"], &["rebuild", "--json"]] {
        let message = as_nobody(&cli, &[command, &["--database", &store]].concat()).refused(1, "storage");
        assert!(!message.is_empty());
    }
    let nowhere = text(&cli.data_dir()).to_owned() + "/below";
    as_nobody(&cli, &["status", "--json", "--data-dir", &nowhere]).refused(1, "storage");
    set(&cli.data_dir(), 0o755);
    for entry in std::fs::read_dir(cli.data_dir()).expect("lists") {
        set(&entry.expect("an entry").path(), 0o644);
    }
    assert_eq!(cli.json(&["events"])["events"].as_array().map(Vec::len), Some(3), "nothing was changed");
    assert_eq!(cli.run(&["verify"]).code, 0);
}

#[test]
fn validate_tells_each_bad_line_and_touches_no_store() {
    let cli = Cli::new();
    let cases = matrix();
    let mut input = trace("good").join("\n").into_bytes();
    for (_, bad, ..) in &cases {
        input.push(b'\n');
        input.extend_from_slice(bad);
    }
    let ended = cli.pipe(&["validate", "-", "--json"], &input);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    let (faults, summary) = ended.verdicts();
    assert_eq!((&summary["good"], &summary["faulty"]), (&json!(3), &json!(cases.len())), "{summary}");
    for (i, (what, _, category, _)) in cases.iter().enumerate() {
        let of_line: Vec<&Value> = faults.iter().filter(|fault| fault["line"] == json!(4 + i)).collect();
        assert!(of_line.iter().any(|fault| fault["category"] == *category), "{what}: {of_line:?}");
        for fault in of_line {
            let said =
                ["found", "expected", "next"].map(|key| fault[key].as_str().is_some_and(|text| !text.is_empty()));
            assert_eq!(said, [true; 3], "{what}: {fault}");
        }
    }
    assert!(!ended.stdout.contains("hunter2"), "no value is quoted");
    assert!(!cli.data_dir().exists(), "nothing was opened");
}

#[test]
fn validate_tells_every_fault_of_a_line_up_to_a_limit_and_its_exit_code_says_the_rest() {
    let cli = Cli::new();
    let good = cli.run(&["validate", text(&cli.file("good.jsonl", trace("good").join("\n")))]);
    assert_eq!(good.code, 0, "{}", good.stderr);
    assert!(good.stdout.starts_with("3 lines, all good\nNot checked without the log: "), "{}", good.stdout);

    let mut event = started("bad");
    event["actor"]["actor_type"] = json!("agnet");
    event["payload"]["confidence"] = json!(0.87);
    event["payload"].as_object_mut().expect("an object").remove("workflow");
    let bad = cli.file("bad.jsonl", format!("{event}\n"));
    let told = cli.run(&["validate", text(&bad)]);
    assert_eq!(told.code, 4, "{}", told.stderr);
    let shown = [
        "line 1, actor.actor_type: found a string of 5 bytes; expected one of agent, person, role, system \
         (schema_violation)",
        "    next: write one of these words; the nearest is `agent`",
        "line 1, payload.workflow: found nothing; expected a string of 1 to 4096 bytes (schema_violation)",
        "    next: add it: Kind of the decision, such as refund.",
        "line 1, payload.confidence: found a float; expected integers and strings: a payload has no floats \
         (schema_violation)",
        "    next: write a scaled integer, such as \"confidence_ppm\": 870000, or a string, such as \"0.87\"",
        "1 lines: 0 good, 1 with 3 faults",
    ];
    assert_eq!(told.stdout.lines().take(7).collect::<Vec<_>>(), shown, "{}", told.stdout);

    let cut = cli.run(&["validate", "--max-faults", "1", text(&bad)]);
    assert_eq!((cut.code, cut.stdout.contains("2 more faults; ")), (4, true), "{}", cut.stdout);
    let refused = cli.run(&["--json", "append", text(&bad)]).verdicts().0[0].clone();
    assert!(refused["message"].as_str().expect("a message").contains("\"confidence_ppm\": 870000"), "{refused}");
    let packed = cli.file("packed.gz", b"\x1f\x8b\x08\0");
    let packed = cli.run(&["--json", "validate", text(&packed)]);
    assert!(packed.refused(2, "invalid_argument").contains("is compressed with gzip"));
}
