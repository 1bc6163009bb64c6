//! Files that leave the database: packs, checkpoints and proofs, judged by the main program as by the auditor's.

use super::rewound::key_of;
use crate::cli_support::text;
use crate::seal_support::memory::lines_of;
use crate::seal_support::{Backend, Ground, says};
use decisiongraph_projections::seal::base64;
use serde_json::Value;
use std::path::Path;

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/fixtures/seal_vectors.json");
    serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
}

/// Promise: `decisiongraph audit` gives each pack of the contract the word and the exit code of the contract, as
/// `decisiongraph-audit` does in its own tests.
#[test]
fn the_main_program_judges_every_pack_of_the_vectors() {
    let (cli, vectors) = (crate::cli_support::Cli::new(), vectors());
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let key = |name: &Value| word(&vectors["notes"]["keys"][word(name)]);
    let packs = vectors["packs"].as_array().expect("packs");
    for case in packs {
        let file = cli.file("a.pack", word(&case["pack"]));
        let mut args = vec!["audit".to_owned(), text(&file).to_owned()];
        for name in case["keys"].as_array().expect("names") {
            args.extend(["--key".to_owned(), key(name)]);
        }
        let witnesses = case["witnesses"].as_array().expect("names");
        for name in witnesses {
            args.extend(["--witness".to_owned(), key(name)]);
        }
        if !witnesses.is_empty() {
            args.extend(["--quorum".to_owned(), case["quorum"].to_string()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (ended, about) = (cli.run(&args), word(&case["about"]));
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(i64::from(ended.code), case["exit"].as_i64().expect("a number"), "{about}: {said}");
        if let Some(finding) = case["finding"].as_str() {
            assert!(said.contains(finding), "{about}: {said}");
        }
    }
    assert!(packs.len() >= 31, "{} packs", packs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_changed_or_has_another_key_is_refused() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    let (note, key) = (ground.ok(&["checkpoint"]).stdout, key_of(&ground));
    let audit = |name: &str, note: &str, key: &str| {
        let file = ground.cli.file(name, note);
        ground.run(&["audit", text(&file), "--key", key])
    };
    says(&audit("good", &note, &key), 0, "", "as it was signed");
    let lines: Vec<&str> = note.lines().collect();
    let another_root = note.replace(lines[2], &base64(&[7; 32]));
    says(&audit("root", &another_root, &key), 3, "signature_invalid", "another root");
    let other = Ground::new(Backend::Sqlite).await;
    says(&audit("key", &note, &key_of(&other)), 8, "signature_missing", "another key");
    // Four bytes of the signature are missing.
    let signature = lines.last().expect("a signature");
    let cut = note.replace(signature, &signature[..signature.len() - 4]);
    let ended = audit("cut", &cut, &key);
    assert!([3, 4, 8].contains(&ended.code), "{}{}", ended.stdout, ended.stderr);
}

/// A whole trace leaves as a pack, an event as a proof; both are accepted with the public key, and one changed letter
/// is not.
#[tokio::test(flavor = "multi_thread")]
async fn packs_and_proofs_of_a_real_log_are_accepted_and_their_changes_are_not() {
    for backend in crate::seal_support::BOTH {
        let (_, ground) = Ground::sealed(backend).await;
        let (key, path) = (key_of(&ground), ground.cli.path("a.pack"));
        let trace = ["audit-pack", "--trace", "discount-acme-2026q3", "-o", text(&path)];
        let range = ["audit-pack", "--range", "84..98", "-o", text(&path)];
        let events = ["audit-pack", "--event", "lead-17/0", "-o", text(&path)];
        let redacted = [&trace[..], &["--redact", "note,decision"]].concat();
        let withheld = [&range[..], &["--without-payloads"]].concat();
        for make in [&trace[..], &range, &events, &redacted, &withheld] {
            let _ = std::fs::remove_file(&path);
            ground.ok(make);
            ground.ok(&["audit", text(&path), "--key", &key]);
            let pack = std::fs::read_to_string(&path).expect("a pack");
            assert!(!pack.contains("PRIVATE"), "no key in a pack");
            let changed = ground.cli.file("changed.pack", pack.replacen("\"actor_id\":\"", "\"actor_id\":\"x", 1));
            let ended = ground.run(&["audit", text(&changed), "--key", &key]);
            says(&ended, 3, "envelope_differs", &format!("{make:?}"));
        }
        let pack = std::fs::read_to_string(&path).expect("a pack");
        assert!(!pack.contains("\"payload\":"), "payloads were withheld");

        let proof = ground.ok(&["prove", "lead-17/0"]).stdout;
        assert!(proof.starts_with("c2sp.org/tlog-proof@v1\n"), "{proof}");
    }
}

/// The private key is in its file alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_seed_is_in_no_output_no_log_no_table_and_no_pack() {
    for backend in crate::seal_support::BOTH {
        let (_, ground) = Ground::sealed(backend).await;
        let line = std::fs::read_to_string(ground.cli.path("seal.key")).expect("the key");
        let raw = line.trim_end().splitn(5, '+').last().expect("a key");
        let bytes = decisiongraph_projections::seal::read_base64(raw).expect("base64");
        let seed = &bytes[1..];
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        // Base64 of the line, and of the seed alone.
        let alone = base64(seed);
        let needles: [&[u8]; 4] = [raw.as_bytes(), alone.trim_end_matches('=').as_bytes(), hex.as_bytes(), seed];
        let clean = |what: &str, bytes: &[u8]| {
            for needle in needles {
                let found = bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle));
                assert!(!found, "{what} has the private key");
            }
        };
        let pack = ground.cli.path("a.pack");
        let node = ground.node(&[("DECISIONGRAPH_LOG", "trace"), ("RUST_LOG", "trace")]);
        for args in [
            &["seal", "now", "-vv"][..],
            &["seal", "status", "-vv"],
            &["seal", "status", "--json"],
            &["seal", "key", "show", "-vv"],
            &["seal", "key", "check", "-vv"],
            &["checkpoint"],
            &["prove", "lead-17/0"],
            &["audit-pack", "--trace", "lead-17", "-o", text(&pack)],
            &["verify", "--log-only", "-vv"],
            &["health", "--json"],
            &["tree", "--json"],
            &["node", "--print-config"],
        ] {
            let ended = ground.run(args);
            clean(&format!("{args:?}"), format!("{}{}", ended.stdout, ended.stderr).as_bytes());
        }
        drop(node);
        clean("the node's log", &std::fs::read(ground.cli.path("node.log")).expect("a log"));
        clean("a pack", &std::fs::read(&pack).expect("a pack"));
        for folder in ["journal", "place"] {
            assert!(!lines_of(&ground.cli.path(folder)).is_empty(), "{folder}");
            for entry in std::fs::read_dir(ground.cli.path(folder)).expect("reads") {
                clean(folder, &std::fs::read(entry.expect("an entry").path()).expect("reads"));
            }
        }
        if backend == Backend::Sqlite {
            let copy = ground.copy().await;
            let file = copy.cli.data_dir().join("decisiongraph.db");
            clean("the database", &std::fs::read(file).expect("the file"));
        } else {
            let query = format!(
                "SELECT (SELECT count(*) FROM dg_seal_note WHERE note LIKE '%{raw}%')
                      + (SELECT count(*) FROM dg_seal_chunk WHERE position({0} IN salts || entries) > 0)
                      + (SELECT count(*) FROM dg_seal WHERE position({0} IN root || frontier) > 0)",
                ground.bytes(seed)
            );
            assert_eq!(ground.number(&query).await, 0, "the database has the private key");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(ground.cli.path("seal.key"), open).expect("sets");
    for args in [&["seal", "now"][..], &["seal", "key", "show"]] {
        let ended = ground.run(args);
        assert!(ended.code != 0 && ended.stderr.contains("chmod 600"), "{args:?}: {}{}", ended.code, ended.stderr);
    }
    // A second key never takes the place of the first.
    let ended = ground.run(&["seal", "key", "new", "--name", "x", "-o", text(&ground.cli.path("seal.key"))]);
    assert!(ended.code != 0, "{}", ended.stdout);
}
