//! Proofs, notes, witnesses, and the flags of the program.

use crate::support::*;
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44_SIGNING, PqdsaKeyPair};
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::note::{KeyKind, VerifierKey, signed};
use decisiongraph_projections::seal::tree::{consistency, inclusion, root_of};
use decisiongraph_seal::Trust;
use decisiongraph_seal::consistency::Consistency;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::tlog_proof::{TlogProof, extra};

#[test]
fn notes_are_signed_as_the_contract_has_them() {
    let seed = |byte: u8| SigningKey::of_seed("a", &[byte; 32]).expect("a key");
    let (log, new) = (seed(1), seed(4));
    assert_eq!((log.verifier(ORIGIN).to_string(), new.verifier(ORIGIN).to_string()), (key("log"), key("new")));
    for name in ["checkpoint", "empty", "statement", "erasure"] {
        let text = note(name).split_once("\n\n").expect("a note").0.to_owned() + "\n";
        assert_eq!(signed(&text, &[log.sign(ORIGIN, &text).expect("signs")]), note(name), "{name}");
    }
    let text = note("rotation").split_once("\n\n").expect("a note").0.to_owned() + "\n";
    let lines = [&log, &new].map(|key| key.sign(ORIGIN, &text).expect("signs"));
    assert_eq!(signed(&text, &lines), note("rotation"));
    let text = note("fork").split_once("\n\n").expect("a note").0.to_owned() + "\n";
    let lines = [ORIGIN, &format!("{ORIGIN}/2")].map(|origin| log.sign(origin, &text).expect("signs"));
    assert_eq!(signed(&text, &lines), note("fork"));
}

#[test]
fn a_proof_opens_its_event_and_no_other() {
    let files = Files::new();
    let case = &VECTORS["notes"]["tlog_proof"];
    let proof = text(&case["proof"]);
    let read = TlogProof::parse(proof).expect("a proof");
    assert_eq!(read.text(), proof);
    let log = log();
    let leaves = leaves(&log);
    assert_eq!(read.extra, Some(extra(&log[3].salts)));
    assert_eq!(read.path, roots(&leaves, &inclusion(3, 12).expect("inside")));
    let path = files.put("a.proof", proof);
    let event = files.put("event.json", case["event"].to_string());
    let (log_key, witness) = (key("log"), key("witness"));
    let run = |path: &str, event: &str| {
        let more = ["--key", &log_key, "--witness", &witness, "--quorum", "1"];
        program(&[[path, "--event", event].as_slice(), &more].concat())
    };
    let output = run(&path, &event);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let expected = "accepted: event lead-17/3 (log_seq 4) was sealed as shown; it is leaf 3\n";
    assert!(stdout(&output).starts_with(expected), "{}", stdout(&output));
    for (field, value) in [("actor_id", "x"), ("payload", "{}"), ("trace_id", ""), ("correlation_id", "")] {
        let mut changed = case["event"].clone();
        changed[field] = value.into();
        let output = run(&path, &files.put("changed.json", changed.to_string()));
        assert_eq!(output.status.code(), Some(3), "{field}");
        assert!(stdout(&output).starts_with("root_differs: "));
    }
    for (changed, exit) in [
        (proof.replace("index 3", "index 2"), 3),
        (proof.replace("index 3", "index 03"), 4),
        (proof.replace("index 3", "index 12"), 3),
        (proof.replace("\n12\n", "\n13\n"), 3),
        (proof.replace("extra ", "extra"), 4),
        (proof.lines().filter(|line| !line.starts_with("extra")).map(|line| format!("{line}\n")).collect(), 4),
        (proof.replace("witness.example/w1", "witness.example/w2"), 8),
    ] {
        assert_eq!(run(&files.put("changed.proof", &changed), &event).status.code(), Some(exit), "{changed}");
    }
    assert_eq!(program(&[&path, "--key", &log_key]).status.code(), Some(2), "it needs the event");
    // Another shape of the event is a mistake, not evidence.
    let mut withheld = case["event"].clone();
    withheld.as_object_mut().expect("an object").remove("payload");
    for other in [r#"{"event_id":"lead-17/3","log_seq":4,"payload":{}}"#, &withheld.to_string()] {
        let output = run(&path, &files.put("other.json", other));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("--event-file"), "{other}: {said}");
    }
}

#[test]
fn a_consistency_proof_shows_that_a_log_only_grew() {
    let files = Files::new();
    let leaves = leaves(&log());
    let read = Consistency::parse(note("add_checkpoint")).expect("a proof");
    assert_eq!(read.text(), note("add_checkpoint"));
    assert_eq!(read.hashes, roots(&leaves, &consistency(8, 12).expect("inside")));
    let (path, log_key) = (files.put("grown", note("add_checkpoint")), key("log"));
    let run = |path: &str, against: &str| {
        let output = program(&[path, "--against", &files.put("older", against), "--key", &log_key]);
        (output.status.code().expect("a code"), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
    };
    let older = checkpoint(8, &root_of(&leaves[..8]));
    let (code, said) = run(&path, &older);
    assert!(code == 0 && said.starts_with("accepted: the log of 12 events begins with the log of 8\n"), "{said}");
    let (code, said) = run(&path, &checkpoint(8, &[1; 32]));
    assert!(code == 3 && said.starts_with("checkpoint_differs: "), "{said}");
    // The wrong file is a mistake, and tells nothing about the log.
    let (code, said) = run(&path, &checkpoint(7, &root_of(&leaves[..7])));
    assert!(code == 2 && said.contains("for 8 events with --against"), "{said}");
    assert_eq!(run(&path, &older.replace("\n8\n", "\n7\n")).0, 3);
    // Two notes for one size are compared without a proof.
    let newest = files.put("newest", note("checkpoint"));
    assert_eq!(run(&newest, note("cosigned")).0, 0);
    let (code, said) = run(&newest, &checkpoint(12, &[1; 32]));
    let expected =
        format!("checkpoint_differs: two roots for 12 events, both signed by {log_key}: the log has been forked");
    assert!(code == 3 && said.starts_with(&expected), "{said}");
    let (code, said) = run(&newest, &older);
    assert!(code == 2 && said.contains("`decisiongraph consistency 8 12"), "{said}");
    // A pack and a proof, too.
    let pack = files.put("a.pack", good_packs()[0].pack);
    let (code, said) = run(&pack, note("checkpoint"));
    assert!(code == 0 && said.contains("\ncompared: both checkpoints name one root"), "{said}");
    let (code, said) = run(&pack, &checkpoint(12, &[1; 32]));
    assert!(code == 3 && said.starts_with(&expected), "{said}");
    let (code, said) = run(&pack, &older);
    assert!(code == 2 && said.contains("--consistency FILE"), "{said}");
    // A proof leads from the reader's checkpoint to that of the pack, and from no other one.
    let grown = files.put("grown.consistency", note("add_checkpoint"));
    let between = |against: &str, more: &[&str]| {
        let against = files.put("own", against);
        let arguments = [pack.as_str(), "--key", &log_key, "--against", &against, "--consistency", &grown];
        let output = program(&[&arguments[..], more].concat());
        (output.status.code().expect("a code"), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
    };
    let (code, said) = between(&older, &[]);
    assert!(code == 0 && said.contains("\ncompared: "), "{said}");
    let (code, said) = between(&checkpoint(8, &[1; 32]), &[]);
    assert!(code == 3 && said.starts_with("checkpoint_differs: the proof does not show"), "{said}");
    assert_eq!(between(&checkpoint(7, &root_of(&leaves[..7])), &[]).0, 2, "a proof between other sizes");
    // A fork is told before a witness that is missing.
    let other = VerifierKey { name: "w9.example".to_owned(), kind: KeyKind::Witness, public: vec![7; 32] }.to_string();
    let forked = checkpoint(8, &[1; 32]);
    let more = ["--witness", &other, "--quorum", "1"];
    assert_eq!((between(&forked, &more).0, between(&older, &more).0), (3, 8));
    let case = &VECTORS["notes"]["tlog_proof"];
    let event = files.put("event.json", case["event"].to_string());
    let proof = files.put("a.proof", text(&case["proof"]));
    for (against, code) in [(note("checkpoint").to_owned(), 0), (checkpoint(12, &[1; 32]), 3)] {
        let against = files.put("own", against);
        let output = program(&[&proof, "--event", &event, "--against", &against, "--key", &log_key]);
        assert_eq!(output.status.code(), Some(code), "{}", stdout(&output));
    }
}

#[test]
fn every_kind_of_note_is_judged() {
    let files = Files::new();
    let run = |content: &str, with: &str| {
        let output = program(&[&files.put("a.note", content), "--key", &key(with)]);
        (output.status.code().expect("a code"), stdout(&output))
    };
    for name in ["checkpoint", "cosigned", "empty", "statement", "rotation", "fork", "erasure"] {
        let (code, said) = run(note(name), "log");
        let kind = if ["cosigned", "empty"].contains(&name) { "checkpoint" } else { name };
        assert!(code == 0 && said.starts_with(&format!("accepted: a {kind} of {ORIGIN}, with this text:\n")), "{said}");
        assert_eq!(run(note(name), "other").0, 8, "{name}");
        let at = note(name).find("\n\n").expect("a note");
        let lines: Vec<&str> = note(name)[at + 2..].lines().collect();
        let unsigned = format!("{}\n\n", &note(name)[..at]);
        assert_eq!(run(&unsigned, "log").0, 4, "{name}");
        if ["rotation", "fork"].contains(&name) {
            for line in lines {
                assert_eq!(run(&format!("{unsigned}{line}\n"), "log").0, 8, "{name} by one of two");
            }
        }
    }
    assert_eq!(run("", "log"), (4, "pack_malformed: a note has no signatures, or too many\n".to_owned()));
}

/// The message is written out here again, from the text of C2SP tlog-cosignature.
#[test]
fn a_witness_may_sign_by_ml_dsa() {
    let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, &[9; 32]).expect("a key");
    let name = "witness.example/w2";
    let key_of =
        |public: &[u8]| VerifierKey { name: name.to_owned(), kind: KeyKind::WitnessMlDsa, public: public.to_vec() };
    let witness = key_of(pair.public_key().as_ref());
    let cosigned = |time: u64, size: u64| {
        let (mut message, root) = (b"subtree/v1\n\0".to_vec(), root_of(&leaves(&log())));
        message.push(18);
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&time.to_be_bytes());
        message.push(26);
        message.extend_from_slice(ORIGIN.as_bytes());
        message.extend_from_slice(&0_u64.to_be_bytes());
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(&root);
        let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
        pair.sign(&message, &mut signature).expect("signs");
        let line = [witness.id().as_slice(), &1_785_575_000_u64.to_be_bytes(), &signature].concat();
        format!("{}— {name} {}\n", note("checkpoint"), base64(&line))
    };
    let trust = Trust::new(&[key("log")], &[witness.to_string()], 1).expect("keys");
    let judged = judge(cosigned(1_785_575_000, 12).as_bytes(), &trust).expect("accepted");
    assert!(judged.lines().contains(&"witness: witness.example/w2 at 2026-08-01T09:03:20Z".to_owned()));
    for wrong in [cosigned(1_785_575_001, 12), cosigned(1_785_575_000, 13)] {
        assert_eq!(verdict(&judge(wrong.as_bytes(), &trust)), (Some("signature_invalid"), 3));
    }
    assert_eq!(verdict(&judge(note("checkpoint").as_bytes(), &trust)), (Some("witness_missing"), 8));
    assert!(Trust::new(&[key("log")], &[key_of(&[0; 32]).to_string()], 1).is_err());
}

#[test]
fn a_policy_file_names_logs_and_a_quorum() {
    let files = Files::new();
    let (cosigned, alone) = (files.put("a.pack", good_packs()[0].pack), files.put("b.pack", good_packs()[1].pack));
    let run = |pack: &str, policy: &str| {
        let output = program(&[pack, "--policy", &files.put("a.policy", policy)]);
        (output.status.code().expect("a code"), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
    };
    let (log, witness) = (key("log"), key("witness"));
    let asked = format!("log {log}\nwitness w1 {witness}\ngroup all-of-them all w1\nquorum all-of-them\n");
    assert_eq!(run(&cosigned, &asked).0, 0);
    let (code, said) = run(&alone, &asked);
    assert!(code == 8 && said.starts_with("witness_missing: 0 of the 1 witnesses"), "{said}");
    assert_eq!(run(&alone, &format!("log {log}\nquorum none\n")).0, 0);
    assert_eq!(run(&cosigned, &format!("log {}\nquorum none\n", key("other"))).0, 8);
    let (code, said) = run(&alone, "quorum none\n");
    assert!(code == 2 && said == "no key of a log is named\n", "{said}");
    let (code, said) = run(&alone, &format!("witness w1 {log}\nquorum w1\n"));
    assert!(code == 2 && said.starts_with("this is not the key of a witness: "), "{said}");
}

#[test]
fn flags_that_do_not_fit_are_named() {
    let files = Files::new();
    let (pack, log_key, witness) = (files.put("a.pack", good_packs()[0].pack), key("log"), key("witness"));
    for (arguments, expected) in [
        (vec!["--key", &witness], "this is not the key of a log"),
        (vec!["--key", &log_key, "--witness", &log_key, "--quorum", "1"], "this is not the key of a witness"),
        (vec!["--key", &log_key[..50]], "not a verifier key"),
        (vec!["--key", &log_key, "--witness", &witness], "--quorum"),
        (vec!["--key", &log_key, "--witness", &witness, "--quorum", "0"], "--quorum 0 asks for no witness"),
        (vec!["--key", &log_key, "--witness", &witness, "--quorum", "2"], "2 witnesses are asked for, and 1 are named"),
        (
            vec!["--key", &log_key, "--witness", &witness, "--witness", &witness, "--quorum", "1"],
            "one witness is named twice",
        ),
        (vec!["--key", &log_key, "--event", &pack], "is not a proof"),
        (vec!["--key", &log_key, "--event", "/absent"], "cannot read /absent"),
        (vec![], "--key"),
    ] {
        let output = program(&[[pack.as_str()].as_slice(), &arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(expected), "{arguments:?}: {said}");
    }
    let help = stdout(&program(&["--help"]));
    for word in ["--key \"$KEY\"", "--witness", "--quorum", "--policy", "--event", "--against", "--json", "Exit codes:"]
    {
        assert!(help.contains(word), "{help}");
    }
}
