//! Keys of the seal as an operator handles them: made, shown, checked, replaced; and what an auditor makes of it.

mod cli_support;
mod pages;
mod seal_support;

use cli_support::{Cli, text};
use seal_support::{Backend, Ground, LEAD, NAME, says};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_key_is_made_once_for_its_owner_and_never_beside_the_database() {
    let cli = Cli::new();
    let key = cli.path("seal.key");
    let made = cli.json(&["seal", "key", "new", "--name", NAME, "-o", text(&key)]);
    assert_eq!(made["name"], NAME);
    assert_eq!(std::fs::metadata(&key).expect("is there").permissions().mode() & 0o777, 0o600);
    let line = std::fs::read_to_string(&key).expect("reads");
    let again = cli.run(&["seal", "key", "new", "-o", text(&key), "--json"]);
    again.refused(2, "invalid_argument");
    assert_eq!(std::fs::read_to_string(&key).expect("reads"), line);
    for name in ["a b", "a+b", "decisiongraph"] {
        let other = cli.path("other.key");
        cli.run(&["seal", "key", "new", "--name", name, "-o", text(&other), "--json"]).refused(2, "invalid_argument");
        assert!(!other.exists());
    }
    // Beside an embedded store, which a copy of the directory would take along.
    std::fs::create_dir_all(cli.data_dir().join("keys")).expect("made");
    let (beside, below) = (cli.data_dir().join("my.key"), cli.data_dir().join("keys/my.key"));
    for path in [&beside, &below] {
        let refused = cli.run(&["seal", "key", "new", "-o", text(path), "--json"]);
        assert!(refused.refused(2, "invalid_argument").contains("directory of the database"));
        assert!(!path.exists());
    }
    let database = format!("sqlite:{}", cli.path("own/log.db").display());
    std::fs::create_dir(cli.path("own")).expect("made");
    let path = cli.path("own/my.key");
    cli.run(&["seal", "key", "new", "-o", text(&path), "--database", &database, "--json"])
        .refused(2, "invalid_argument");
    assert_eq!(cli.run(&["seal", "key", "new", "-o", text(&beside), "--database", &database]).code, 0);
}

#[test]
fn a_key_shows_its_public_half_and_signs() {
    let cli = Cli::new();
    let key = cli.path("seal.key");
    let made = cli.json(&["seal", "key", "new", "--name", NAME, "-o", text(&key)]);
    let shown = cli.json(&["seal", "key", "show", "--file", text(&key), "--tenant", "acme"]);
    assert_eq!(shown["public_key"], made["public_key"]);
    assert_eq!(shown["logs"][0]["tenant"], "acme");
    let vkey = shown["logs"][0]["key"].as_str().expect("a key");
    let raw = decisiongraph_projections::seal::note::VerifierKey::parse(vkey).expect("a verifier key");
    assert_eq!(decisiongraph_projections::seal::base64(&raw.public), made["public_key"].as_str().expect("a key"));
    let told = cli.run(&["seal", "key", "show", "--file", text(&key), "--tenant", "acme"]).stdout;
    assert!(told.contains(&format!("\nverifier key of tenant acme:\n  {vkey}\n")), "{told}");
    let checked = cli.json(&["seal", "key", "check", "--file", text(&key)]);
    assert_eq!(checked["ok"], true);
    let line = std::fs::read_to_string(&key).expect("reads");
    std::fs::write(&key, line.replace(NAME, "log.examplf")).expect("writes");
    cli.run(&["seal", "key", "check", "--file", text(&key), "--json"]).refused(2, "invalid_argument");
    cli.run(&["seal", "key", "check", "--file", "nowhere", "--json"]).refused(2, "invalid_argument");
}

fn event(number: usize) -> String {
    LEAD.replace("lead-17", &format!("lead-{number}"))
}

/// Rotation under a running node: it takes the new key by itself, and both sign.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_takes_the_new_key_and_an_auditor_who_knows_refuses_the_old_one_alone() {
    let ground = Ground::new(Backend::Postgres).await;
    let node = ground.node(&[]);
    ground.import(&event(100));
    ground.ok(&["seal", "now", "--node", &format!("unix:{}", node.socket.display())]);
    let old = ground.json(&["seal", "key", "show"])["logs"][0]["key"].as_str().expect("a key").to_owned();
    let new_file = ground.cli.path("new.key");
    ground
        .run(&["seal", "key", "rotate", "--to", text(&new_file), "--reason", " ", "--json"])
        .refused(2, "invalid_argument");
    let rotated = ground.json(&["seal", "key", "rotate", "--to", text(&new_file), "--reason", "a test"]);
    assert_eq!((&rotated["made"], &rotated["logs"][0]["new_note"]), (&Value::from(true), &Value::from(true)));
    let again = ground.json(&["seal", "key", "rotate", "--to", text(&new_file), "--reason", "again"]);
    assert_eq!(again["logs"][0]["new_note"], false, "it can be repeated");
    ground.import(&event(101));
    ground.ok(&["seal", "now", "--node", &format!("unix:{}", node.socket.display())]);
    let checkpoint = ground.ok(&["checkpoint"]).stdout;
    assert_eq!(checkpoint.lines().filter(|line| line.starts_with("— ")).count(), 2, "{checkpoint}");
    let shown = ground.json(&["seal", "key", "show"]);
    let log = &shown["logs"][0];
    assert_eq!(log["former_key"], old.as_str());
    let new = log["key"].as_str().expect("a key").to_owned();
    assert!(shown["rotated_at"].is_string() && new != old);
    // The configuration may name the new file: the former key is still found.
    let named =
        ground.run_with(&["seal", "key", "show", "--json"], "DECISIONGRAPH_SEAL_KEY_FILE", text(&new_file)).json();
    assert_eq!((&named["logs"][0]["key"], &named["logs"][0]["former_key"]), (&log["key"], &log["former_key"]));
    // An auditor with either key believes it; with the old one, who knows the rotation, because the new one signed.
    let source = format!("dir:{}", ground.cli.path("place").display());
    for (key, state) in [(&old, "old.jsonl"), (&new, "new.jsonl")] {
        let state = ground.cli.path(state);
        let args = ["monitor", &source, "--key", key, "--state", text(&state), "--once"];
        says(&ground.run(&args), 0, "checkpoint: 2 events", key);
    }
    let known = std::fs::read_to_string(ground.cli.path("old.jsonl")).expect("reads");
    assert!(known.contains("seal-rotation"), "{known}");
    // A thief with the old key alone: refused above the rotation, by those who know it.
    let forged = forged(&ground, 3);
    let place = ground.cli.path("forged");
    std::fs::create_dir(&place).expect("made");
    decisiongraph_seal::Place::put(&decisiongraph_seal::Folder::new(&place), &forged).expect("put");
    let source = format!("dir:{}", place.display());
    let watch = |state: &str| {
        let state = ground.cli.path(state);
        ground.run(&["monitor", &source, "--key", &old, "--state", text(&state), "--once"])
    };
    says(&watch("old.jsonl"), 8, "signature_missing", "who knows");
    says(&watch("fresh.jsonl"), 0, "checkpoint: 3 events", "who was never told");
    let changes = ground.json(&["changes"]);
    let whats: Vec<&str> =
        changes["changes"].as_array().expect("a list").iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(whats.iter().filter(|what| **what == "seal_key_rotate").count(), 2, "{whats:?}");
}

/// A checkpoint that the old key alone signed.
fn forged(ground: &Ground, size: u64) -> decisiongraph_seal::Remembered {
    let key = decisiongraph_seal::key::SigningKey::read(&ground.cli.path("seal.key")).expect("the key");
    let origin = decisiongraph_projections::seal::texts::origin_of(NAME, &seal_support::tenant());
    let head = decisiongraph_projections::seal::texts::TreeHead { size, root: [7; 32] };
    let keys = decisiongraph_seal::SigningKeys::of(key);
    keys.checkpoint(&origin, head, false, "2026-12-01T00:00:00Z").expect("signed")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_of_a_key_is_in_no_output_of_its_commands() {
    let ground = Ground::new(Backend::Sqlite).await;
    ground.import(LEAD);
    ground.ok(&["catch-up"]);
    ground.ok(&["seal", "now"]);
    let new_file = ground.cli.path("new.key");
    let mut said = String::new();
    for args in [
        &["seal", "key", "rotate", "--to", text(&new_file), "--reason", "a test", "-vvv"][..],
        &["seal", "key", "show", "-vvv"],
        &["seal", "key", "show", "--json", "-vvv"],
        &["seal", "key", "check", "-vvv"],
        &["seal", "key", "new", "-o", text(&new_file), "-vvv"],
        &["changes", "--json"],
    ] {
        let ended = ground.run(args);
        said += &(ended.stdout + &ended.stderr);
    }
    for folder in ["journal", "place"] {
        for entry in std::fs::read_dir(ground.cli.path(folder)).expect("reads") {
            said += &std::fs::read_to_string(entry.expect("an entry").path()).expect("reads");
        }
    }
    assert!(said.contains("seal-rotation") && said.contains("new.key"));
    for name in ["seal.key", "new.key"] {
        let line = std::fs::read_to_string(ground.cli.path(name)).expect("reads");
        let raw = line.trim_end().splitn(5, '+').nth(4).expect("a key").to_owned();
        let bytes = decisiongraph_projections::seal::read_base64(&raw).expect("base64");
        let seed = &bytes[1..];
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let alone = decisiongraph_projections::seal::base64(seed);
        for needle in [raw.as_str(), alone.trim_end_matches('='), &hex, &hex.to_uppercase()] {
            assert!(!said.contains(needle), "{name}");
        }
    }
}
