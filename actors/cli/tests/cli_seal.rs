//! The commands of the sealed log, in the program itself, on the embedded store: what they print is evidence that an
//! auditor accepts, and what was changed is refused.

mod cli_support;

use cli_support::node::Node;
use cli_support::{Cli, Ended, finished, started, text, trace};
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead};
use decisiongraph_seal::SigningKeys;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_store::launch;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A log of three events that is sealed up to its end. Its key was made with the first import.
fn sealed() -> Cli {
    let cli = Cli::filled(&trace("lead"));
    assert_eq!(cli.json(&["seal", "now"])["size"], 3);
    cli
}

fn add(cli: &Cli, lines: &[String]) {
    let ended = cli.pipe(&["import", "-"], lines.join("\n").as_bytes());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

fn keys(cli: &Cli) -> SigningKey {
    SigningKey::read(&cli.data_dir().join("seal.key")).expect("the key")
}

/// Returns the public key that the operator hands to auditors.
fn public(cli: &Cli) -> String {
    let status = cli.json(&["seal", "status", "--tenant", "default"]);
    keys(cli).verifier(status["seals"][0]["origin"].as_str().expect("an origin")).to_string()
}

/// Finds the program of an auditor, and builds it where no other run has.
fn auditor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a folder");
        let program = folder.join("decisiongraph-audit");
        if !program.exists() {
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            let kept = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"];
            let mut cargo = launch::program(&cargo);
            cargo.envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
            let built = cargo.args(["build", "--offline", "-q", "-p", "decisiongraph-seal"]).output().expect("cargo");
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        program
    })
}

/// Checks evidence with both programs, which must agree.
#[track_caller]
fn audited(cli: &Cli, args: &[&str]) -> Ended {
    let ours = cli.run(&[&["audit"], args].concat());
    let out = launch::program(text(auditor())).args(args).output().expect("runs");
    let theirs = Ended::of(out);
    assert_eq!((ours.code, &ours.stdout), (theirs.code, &theirs.stdout), "{}\n{}", ours.stderr, theirs.stderr);
    ours
}

fn edit(cli: &Cli, sql: &str) {
    let file = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    assert_eq!(file.execute(sql, []).unwrap_or_else(|error| panic!("{error}: {sql}")), 1, "{sql}");
}

#[test]
fn a_proof_and_a_pack_are_accepted_by_an_auditor_who_has_the_key_alone() {
    let cli = sealed();
    let key = public(&cli);
    let [proof, event, pack, redacted, bare] =
        ["e.proof", "e.json", "t.pack", "redacted.pack", "bare.pack"].map(|name| cli.path(name));
    let told = cli.run(&["prove", "lead-1", "-o", text(&proof), "--event-file", text(&event)]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stdout.contains("the proof that event lead-1 is leaf 1 of 3"), "{}", told.stdout);
    let printed = cli.run(&["prove", "--log-seq", "2"]);
    assert_eq!(printed.stdout, std::fs::read_to_string(&proof).expect("the proof"), "stdout has the same bytes");
    let accepted = audited(&cli, &[text(&proof), "--event", text(&event), "--key", &key]);
    assert!(
        accepted.code == 0 && accepted.stdout.contains("event lead-1 (log_seq 2) was sealed"),
        "{}",
        accepted.stdout
    );
    let packs: [(&PathBuf, &[&str], &str); 3] = [
        (&pack, &["--trace", "lead"], "3 whole, 0 redacted"),
        (&redacted, &["--range", "1..2", "--redact", "title"], "1 whole, 1 redacted"),
        (&bare, &["--event", "lead-0", "--event", "lead-2", "--without-payloads"], "2 withheld"),
    ];
    for (file, of, shown) in packs {
        let packed = cli.run(&[&["audit-pack", "-o", text(file)], of].concat());
        assert_eq!(packed.code, 0, "{of:?}: {}", packed.stderr);
        let accepted = audited(&cli, &[text(file), "--key", &key]);
        assert!(accepted.code == 0 && accepted.stdout.contains(shown), "{of:?}: {}", accepted.stdout);
    }
    let lines = std::fs::read_to_string(&redacted).expect("the pack");
    assert!(!lines.contains("a title") && lines.contains("primary_entity"), "{lines}");
    // Changed evidence, and another key.
    std::fs::write(&pack, lines.replace("lead-1", "lead-7")).expect("writes");
    assert_eq!(audited(&cli, &[text(&pack), "--key", &key]).code, 3);
    let other = SigningKey::of_seed("other", &[9; 32]).expect("a key").verifier("other/log").to_string();
    assert_eq!(audited(&cli, &[text(&redacted), "--key", &other]).code, 8);
    // Evidence is not overwritten.
    let again = cli.run(&["audit-pack", "--trace", "lead", "-o", text(&bare), "--json"]);
    assert!(again.refused(2, "invalid_argument").contains("already exists"));
}

#[test]
fn a_checkpoint_that_another_process_signed_has_its_keepers() {
    let told = Cli::filled(&trace("lead")).run(&["seal", "now"]).stdout;
    assert!(told.contains("signed, and kept by: journal\n") && !told.contains("not in"), "{told}");
}

#[test]
fn an_event_that_is_not_sealed_has_no_proof_yet() {
    let cli = sealed();
    add(&cli, &trace("late"));
    let pack = cli.path("late.pack");
    for args in [
        &["prove", "late-0"][..],
        &["prove", "--log-seq", "4"],
        &["audit-pack", "--trace", "late", "-o", text(&pack)],
        &["audit-pack", "--range", "1..4", "-o", text(&pack)],
    ] {
        let ended = cli.run(&[args, &["--json"]].concat());
        ended.refused(7, "projection_out_of_date");
        assert!(ended.stderr.contains("seal now"), "{args:?}: {}", ended.stderr);
    }
    assert!(!pack.exists(), "no part of a pack is left");
    cli.run(&["prove", "nobody", "--json"]).refused(5, "not_found");
    cli.run(&["prove", "--log-seq", "99", "--json"]).refused(5, "not_found");
    let status = cli.json(&["seal", "status", "--tenant", "default"]);
    let seal = &status["seals"][0];
    assert_eq!((&seal["size"], &seal["unsealed"]["events"]), (&3.into(), &3.into()), "{status}");
    assert!(seal["window_seconds"].as_f64().is_some_and(|window| window > 0.0), "{status}");
    assert_eq!(cli.json(&["seal", "now"])["size"], 6);
    assert_eq!(cli.run(&["prove", "late-0"]).code, 0);
    let fresh = Cli::filled(&[]);
    fresh.run(&["checkpoint", "--json"]).refused(7, "projection_out_of_date");
}

#[test]
fn a_changed_event_gets_neither_proof_nor_pack() {
    let cli = sealed();
    edit(&cli, "UPDATE dg_event_log SET actor_id = 'mallory' WHERE event_id = 'lead-1'");
    let pack = cli.path("t.pack");
    for args in [&["prove", "lead-1"][..], &["audit-pack", "--trace", "lead", "-o", text(&pack)]] {
        let ended = cli.run(args);
        assert_eq!(ended.code, 3, "{args:?}: {}", ended.stderr);
        let line = "envelope_differs: leaf 1 (log_seq 2, lead-1): its envelope is not what was sealed";
        assert!(ended.stderr.contains(line), "{args:?}: {}", ended.stderr);
    }
    assert!(!pack.exists());
    assert_eq!(cli.run(&["prove", "lead-0"]).code, 0, "the others keep their proofs");
}

#[test]
fn checkpoints_are_listed_and_two_of_them_are_shown_to_be_of_one_log_that_grew() {
    let cli = sealed();
    let key = public(&cli);
    let [mine, newer, proof, forged] = ["mine", "newer", "proof", "forged"].map(|name| cli.path(name));
    assert_eq!(cli.run(&["checkpoint", "-o", text(&mine)]).code, 0);
    add(&cli, &trace("more"));
    assert_eq!(cli.json(&["seal", "now"])["size"], 6);
    assert_eq!(cli.run(&["checkpoint", "-o", text(&newer)]).code, 0);
    let list = cli.json(&["checkpoint", "--list"]);
    let sizes: Vec<&Value> = list["notes"].as_array().expect("a list").iter().map(|note| &note["size"]).collect();
    assert_eq!(sizes, [6, 3]);
    let first = cli.json(&["checkpoint", "--list", "--limit", "1"]);
    assert_eq!((first["notes"].as_array().map(Vec::len), &first["more"]), (Some(1), &true.into()));
    assert_eq!(cli.run(&["checkpoint", "--size", "3"]).stdout, std::fs::read_to_string(&mine).expect("reads"));
    cli.run(&["checkpoint", "--size", "5", "--json"]).refused(5, "not_found");

    let shown = cli.run(&["consistency", "3", "6", "-o", text(&proof)]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert_eq!(audited(&cli, &[text(&proof), "--against", text(&mine), "--key", &key]).code, 0);
    cli.run(&["consistency", "3", "5", "--json"]).refused(5, "not_found");
    let files = |a: &Path, b: &Path| cli.run(&["consistency", text(a), text(b), "--key", &key]);
    let grown = files(&mine, &newer);
    let line = "accepted: the log of 6 events begins with the log of 3";
    assert!(grown.code == 0 && grown.stdout.contains(line), "{}{}", grown.stdout, grown.stderr);
    assert_eq!(files(&mine, &mine).code, 0, "one size needs no database");
    // A thief's second history, signed by the same key.
    let origin = Checkpoint::parse(Note::parse(&std::fs::read_to_string(&mine).expect("reads")).expect("a note").text);
    let origin = origin.expect("a checkpoint").origin;
    let head = TreeHead { size: 3, root: [7; 32] };
    let note = SigningKeys::of(keys(&cli)).checkpoint(&origin, head, false, "2026-12-01T00:00:00Z").expect("signed");
    std::fs::write(&forged, &note.note).expect("writes");
    let two = files(&mine, &forged);
    let line = format!("two roots for 3 events, both signed by {key}: the log has been forked");
    assert!(two.code == 3 && two.stdout.contains(&line), "{}{}", two.stdout, two.stderr);
    let ahead = files(&forged, &newer);
    assert_eq!(ahead.code, 3, "{}{}", ahead.stdout, ahead.stderr);
    assert_eq!(cli.run(&["consistency", text(&mine), text(&newer)]).code, 2, "files need a key");
    assert_eq!(cli.run(&["consistency", text(&mine), "6"]).code, 2);
}

#[test]
fn an_append_waits_for_its_receipts_and_stores_its_events_without_them_too() {
    let cli = sealed();
    let key = public(&cli);
    let lines = trace("sold").join("\n");
    let refused = cli.pipe(&["append", "-", "--sealed=witnessed", "--json"], lines.as_bytes());
    assert!(refused.refused(2, "invalid_argument").contains("witnesses"), "{}", refused.stderr);
    cli.run(&["prove", "sold-0", "--json"]).refused(5, "not_found");

    let appended = cli.pipe(&["append", "-", "--sealed", "--json"], lines.as_bytes());
    assert_eq!(appended.code, 0, "{}", appended.stderr);
    let read = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let receipts: Vec<Value> = appended.stdout.lines().map(read).filter(|line| line["sealed"].is_object()).collect();
    assert_eq!(receipts.len(), 3, "{}", appended.stdout);
    for (at, receipt) in receipts.iter().enumerate() {
        let sealed = &receipt["sealed"];
        // Lines that come in one by one are sealed chunk by chunk.
        assert_eq!(sealed["index"], 3 + at, "{sealed}");
        let proof = cli.file(&format!("{at}.proof"), sealed["proof"].as_str().expect("a proof"));
        let event = cli.file(&format!("{at}.json"), sealed["event"].as_str().expect("an event"));
        assert_eq!(audited(&cli, &[text(&proof), "--event", text(&event), "--key", &key]).code, 0);
    }
    let again = cli.pipe(&["append", "-", "--sealed"], lines.as_bytes());
    assert!(again.code == 0 && again.stdout.contains("line 1: sealed as leaf 3 of 6 (sold-0)"), "{}", again.stdout);

    // A place that cannot be written: everything is stored and sealed, and nothing is published there.
    let file = cli.file("a file", "");
    let place = format!("dir:{}/place", file.display());
    let mut command = cli.command(&["append", "-", "--sealed", "--seal-wait", "0.3", "--json"]);
    command.env("DECISIONGRAPH_SEAL_PLACES", place);
    let late = Ended::piped(command, trace("late").join("\n").as_bytes());
    assert!(late.stderr.contains("3 events are stored and not sealed yet"), "{}", late.stderr);
    assert_eq!(late.code, 7, "{}{}", late.stdout, late.stderr);
    assert_eq!(late.verdicts().1["accepted"], 3);
    let stored = cli.json(&["events"]);
    assert_eq!(stored["events"].as_array().map(Vec::len), Some(9), "{stored}");
}

#[test]
fn nothing_is_sealed_without_a_key_and_commands_say_so() {
    let cli = Cli::new();
    let url = format!("sqlite:{}", cli.path("own.db").display());
    let of = |args: &[&str]| -> Ended { cli.run(&[args, &["--database", &url]].concat()) };
    let ended = cli.pipe(&["import", "-", "--database", &url], trace("t").join("\n").as_bytes());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let status = of(&["seal", "status"]);
    assert_eq!((status.code, status.stdout.lines().count()), (0, 1), "{}", status.stdout);
    assert!(status.stdout.contains("no key is configured"), "{}", status.stdout);
    let sealed = cli.pipe(&["append", "-", "--sealed", "--json", "--database", &url], trace("u").join("\n").as_bytes());
    assert!(sealed.stderr.contains("this log is not sealed"), "{}", sealed.stderr);
    of(&["prove", "u-0", "--json"]).refused(7, "projection_out_of_date");
    assert_ne!(of(&["seal", "now"]).code, 0);
}

#[test]
fn a_rewound_log_stops_until_an_operator_forks_its_tree() {
    let cli = sealed();
    let key = public(&cli);
    let (file, then) = (cli.data_dir().join("decisiongraph.db"), cli.path("then.db"));
    assert_eq!(cli.run(&["backup", text(&then)]).code, 0);
    add(&cli, &trace("lost"));
    assert_eq!(cli.json(&["seal", "now"])["size"], 6);
    let old = cli.path("old.pack");
    assert_eq!(cli.run(&["audit-pack", "--trace", "lost", "-o", text(&old)]).code, 0);
    for beside in ["decisiongraph.db-wal", "decisiongraph.db-shm"] {
        let _ = std::fs::remove_file(cli.data_dir().join(beside));
    }
    std::fs::copy(&then, &file).expect("restores");
    add(&cli, &trace("other"));
    let stopped = cli.run(&["seal", "now"]);
    let line = "tree_shrunk: 3 events are sealed here, a checkpoint for 6 was signed at ";
    assert!(stopped.code == 3 && stopped.stderr.contains(line), "{}", stopped.stderr);
    assert_eq!(cli.run(&["seal", "fork"]).code, 2, "a fork needs a reason");
    let reason = "restored the backup";
    let forked = cli.run(&["seal", "fork", "--reason", reason, "--json"]);
    assert_eq!(forked.code, 0, "{}", forked.stderr);
    let forked = forked.json();
    assert_eq!((&forked["tree"], &forked["size"]), (&2.into(), &3.into()), "{forked}");
    assert!(forked["origin"].as_str().is_some_and(|origin| origin.ends_with("/2")), "{forked}");
    assert!(forked["note"].as_str().is_some_and(|note| note.contains(reason)), "{forked}");
    let sealed = cli.json(&["seal", "now"]);
    assert_eq!((&sealed["tree"], &sealed["size"]), (&2.into(), &6.into()), "{sealed}");
    assert_eq!(cli.run(&["seal", "status"]).code, 0);
    let changes = cli.json(&["changes"]);
    let of_fork = changes["changes"].as_array().expect("a list").iter().find(|change| change["what"] == "seal_fork");
    assert!(of_fork.is_some_and(|change| change["reason"] == reason && change["projection"] == "seal"), "{changes}");
    // Old evidence stays good, and new evidence is of the new tree.
    let new = cli.path("new.pack");
    assert_eq!(cli.run(&["audit-pack", "--trace", "other", "-o", text(&new)]).code, 0);
    let new_key = public(&cli);
    assert_ne!(key, new_key, "the name of the log is part of it");
    assert_eq!(audited(&cli, &[text(&old), "--key", &key]).code, 0);
    assert_eq!(audited(&cli, &[text(&new), "--key", &new_key]).code, 0);
    assert_eq!(audited(&cli, &[text(&new), "--key", &key]).code, 8);
}

#[test]
fn a_damaged_tree_is_written_anew_from_its_chunks_if_they_are_what_was_signed() {
    let cli = sealed();
    edit(&cli, "UPDATE dg_seal SET frontier = zeroblob(length(frontier))");
    add(&cli, &trace("next"));
    let damaged = cli.run(&["seal", "now"]);
    assert!(damaged.code == 3 && damaged.stderr.contains("tree_damaged: "), "{}", damaged.stderr);
    let mended = cli.run(&["seal", "rebuild", "--reason", "a bad disk"]);
    assert_eq!(mended.code, 0, "{}", mended.stderr);
    assert_eq!(cli.json(&["seal", "now"])["size"], 6);
    // Chunks that are not what was signed are not written over.
    edit(&cli, "UPDATE dg_seal_chunk SET entries = zeroblob(length(entries)) WHERE first_index = 0");
    let refused = cli.run(&["seal", "rebuild", "--reason", "again"]);
    assert!(refused.code == 3 && refused.stderr.contains("checkpoint_differs: "), "{}", refused.stderr);
}

#[test]
fn a_tree_begins_under_the_name_that_an_operator_chose() {
    let cli = Cli::filled(&trace("t"));
    let init = |origin: &str| {
        cli.run(&["seal", "init", "--tenant", "acme", "--origin", origin, "--reason", "for its auditors", "--json"])
    };
    let begun = init("log.example/acme");
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    assert_eq!(begun.json()["origin"], "log.example/acme");
    init("log.example/acme2").refused(4, "conflict");
    init("no-path").refused(2, "invalid_argument");
    let ended = cli.pipe(&["import", "-", "--tenant", "acme"], trace("a").join("\n").as_bytes());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let sealed = cli.json(&["seal", "now", "--tenant", "acme"]);
    assert_eq!((&sealed["origin"], &sealed["size"]), (&"log.example/acme".into(), &3.into()), "{sealed}");
    assert_eq!(cli.json(&["seal", "now"])["size"], 3, "the other tenant has its own");
    let all = cli.json(&["seal", "status"]);
    let tenants: Vec<&str> =
        all["seals"].as_array().expect("a list").iter().filter_map(|seal| seal["tenant"].as_str()).collect();
    assert_eq!(tenants, ["acme", "default"]);
    let page = cli.json(&["seal", "status", "--limit", "1", "--after", "acme"]);
    assert_eq!((&page["seals"][0]["tenant"], &page["more"]), (&"default".into(), &false.into()));
    let text = cli.run(&["seal", "status"]);
    assert!(text.code == 0 && text.stdout.contains("log.example/acme, root "), "{}", text.stdout);
}

#[test]
fn copies_are_compared_from_the_root_down() {
    let cli = sealed();
    let url = |path: &Path| format!("sqlite:{}", path.display());
    let here = url(&cli.data_dir().join("decisiongraph.db"));
    let [same, edited] = ["same.db", "edited.db"].map(|name| cli.path(name));
    for copy in [&same, &edited] {
        assert_eq!(cli.run(&["backup", text(copy)]).code, 0);
    }
    let bisected = |other: &Path, more: &[&str]| cli.run(&[&["bisect", &here, &url(other), "--json"], more].concat());
    let equal = bisected(&same, &[]);
    assert!(equal.code == 0 && equal.json()["same"] == true, "{}{}", equal.stdout, equal.stderr);
    let file = rusqlite::Connection::open(&edited).expect("opens");
    let sql = "UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 2";
    assert_eq!(file.execute(sql, []).expect("edits"), 1);
    drop(file);
    assert_eq!(bisected(&edited, &[]).code, 0, "the trees are the same");
    let differs = bisected(&edited, &["--by-log"]);
    assert_eq!(differs.code, 3, "{}", differs.stderr);
    let first = &differs.json()["first"];
    assert_eq!((&first["index"], &first["columns"]), (&1.into(), &serde_json::json!(["actor_id"])), "{first}");
    // Sealed apart: other salts, the same events.
    let apart = Cli::filled(&trace("lead"));
    assert_eq!(apart.run(&["seal", "now"]).code, 0);
    let apart = apart.data_dir().join("decisiongraph.db");
    let salted = bisected(&apart, &[]);
    assert!(salted.code == 3 && salted.json()["first"]["sealed_apart"] == true, "{}", salted.stdout);
    assert_eq!(bisected(&apart, &["--by-log"]).code, 0);
    let told = cli.run(&["bisect", &here, &url(&edited), "--by-log"]);
    assert!(told.stdout.contains("different: actor_id"), "{}", told.stdout);
}

#[test]
fn a_node_answers_the_same_and_an_older_one_is_named() {
    let cli = sealed();
    let node = Node::start(&cli, &["--name", "sealing"]);
    let lines = [started("live"), finished("live", 1)].map(|event| event.to_string()).join("\n");
    let appended = cli.pipe(&["append", "-", "--sealed"], lines.as_bytes());
    assert!(
        appended.code == 0 && appended.stdout.contains("sealed as leaf 4 of 5"),
        "{}{}",
        appended.stdout,
        appended.stderr
    );
    let [by_node, alone] = ["node.pack", "alone.pack"].map(|name| cli.path(name));
    assert_eq!(cli.run(&["audit-pack", "--range", "1..5", "-o", text(&by_node)]).code, 0);
    let status = cli.json(&["seal", "status", "--tenant", "default"]);
    assert_eq!((&status["seals"][0]["size"], &status["seals"][0]["state"]), (&5.into(), &"open".into()), "{status}");
    assert_eq!(status["memory"][0], "journal", "{status}");
    let old = cli.run(&["seal", "status", "--protocol-version", "4", "--json"]);
    assert!(old.refused(8, "version_mismatch").contains("protocol 5"), "{}", old.stderr);
    assert_eq!(cli.run(&["status", "--protocol-version", "4"]).code, 0, "what was there before is answered");
    drop(node);
    assert_eq!(cli.run(&["audit-pack", "--range", "1..5", "-o", text(&alone)]).code, 0);
    let key = public(&cli);
    for pack in [&by_node, &alone] {
        assert_eq!(audited(&cli, &[text(pack), "--key", &key]).code, 0);
    }
}
