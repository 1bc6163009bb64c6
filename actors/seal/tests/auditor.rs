//! The library and the program judge the vectors of the contract as the contract does, and refuse whatever was changed.

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44_SIGNING, PqdsaKeyPair};
use decisiongraph_projections::seal::leaf::{Entry, Salts};
use decisiongraph_projections::seal::note::{KeyKind, VerifierKey, signed};
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead};
use decisiongraph_projections::seal::tree::{Leaves, consistency, inclusion, root_of};
use decisiongraph_projections::seal::{Hash, base64, multiproof, read_base64_of};
use decisiongraph_seal::consistency::Consistency;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::pack::{Head, Kind, Shown, Writer};
use decisiongraph_seal::tlog_proof::{TlogProof, extra};
use decisiongraph_seal::{Accepted, Beside, Event, Failure, Trust, audit};
use proptest::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/fixtures/seal_vectors.json");
    serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
});

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn note(name: &str) -> &'static str {
    text(&VECTORS["notes"][name])
}

fn key(name: &str) -> String {
    text(&VECTORS["notes"]["keys"][name]).to_owned()
}

/// A pack of the vectors.
struct Case {
    about: &'static str,
    pack: &'static str,
    keys: Vec<String>,
    witnesses: Vec<String>,
    quorum: usize,
    exit: u8,
    finding: Option<&'static str>,
}

impl Case {
    fn trust(&self) -> Trust {
        Trust::new(&self.keys, &self.witnesses, self.quorum).expect("keys")
    }
}

fn cases() -> Vec<Case> {
    let keys = |names: &Value| names.as_array().expect("names").iter().map(|name| key(text(name))).collect::<Vec<_>>();
    let read = |case: &'static Value| Case {
        about: text(&case["about"]),
        pack: text(&case["pack"]),
        keys: keys(&case["keys"]),
        witnesses: keys(&case["witnesses"]),
        quorum: case["quorum"].as_u64().expect("a number") as usize,
        exit: case["exit"].as_u64().expect("a number") as u8,
        finding: case["finding"].as_str(),
    };
    VECTORS["packs"].as_array().expect("packs").iter().map(read).collect()
}

fn good_packs() -> Vec<Case> {
    cases().into_iter().filter(|case| case.exit == 0).collect()
}

fn judge(bytes: &[u8], trust: &Trust) -> Result<Accepted, Failure> {
    audit(bytes, Beside::default(), trust)
}

/// The word of the first finding, if any, and the exit code.
fn verdict(judged: &Result<Accepted, Failure>) -> (Option<&'static str>, u8) {
    match judged {
        Ok(_) => (None, 0),
        Err(Failure::Refused(refused)) => (Some(refused.finding.as_str()), refused.finding.exit_code().0),
        Err(failure) => panic!("{failure}"),
    }
}

/// Runs the program without any variables of the tester.
#[expect(clippy::disallowed_methods, reason = "the launcher of the store would bring a database below this crate")]
fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_decisiongraph-audit")).env_clear().args(arguments).output().expect("runs")
}

/// A directory with files, for the program.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory"))
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, content).expect("writes");
        path.display().to_string()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn library_and_program_judge_every_pack_as_the_contract() {
    let files = Files::new();
    let cases = cases();
    assert_eq!(cases.len(), 31);
    for case in cases {
        let judged = judge(case.pack.as_bytes(), &case.trust());
        assert_eq!(verdict(&judged), (case.finding, case.exit), "{}", case.about);
        let (path, quorum) = (files.put("a.pack", case.pack), case.quorum.to_string());
        let mut arguments = vec![path.as_str()];
        case.keys.iter().for_each(|key| arguments.extend(["--key", key]));
        case.witnesses.iter().for_each(|key| arguments.extend(["--witness", key, "--quorum", &quorum]));
        let output = program(&arguments);
        assert_eq!(output.status.code(), Some(case.exit.into()), "{}", case.about);
        let first = stdout(&output).split(": ").next().unwrap_or_default().to_owned();
        assert_eq!(first, case.finding.unwrap_or("accepted"), "{}", case.about);
        arguments.push("--json");
        let json: Value = serde_json::from_str(&stdout(&program(&arguments))).expect("JSON");
        let expected = if case.exit == 0 { "accepted" } else { "refused" };
        assert_eq!((json["verdict"].as_str(), json["exit"].as_u64()), (Some(expected), Some(case.exit.into())));
        assert_eq!(json["finding"].as_str(), case.finding, "{}", case.about);
    }
}

#[test]
fn an_accepted_pack_says_what_it_proves_and_what_not() {
    let said = |about: &str| {
        let case = good_packs().into_iter().find(|case| case.about.starts_with(about)).expect("a pack");
        judge(case.pack.as_bytes(), &case.trust()).expect("accepted").lines().join("\n")
    };
    let trace = said("a whole trace");
    for line in [
        "accepted: 7 events of trace lead-17, tenant default, were sealed as shown",
        "leaves: 0 to 9; payloads: 7 whole, 0 redacted, 0 withheld",
        "trace: finished; no number is missing",
        "checkpoint: 12 events of log.example/decisions/7f1c, root ZSDjcGB7dMMqIE+r7RIqoacR/9urAE0ymWDhtqe6Ut0=",
        "witness: witness.example/w1 at 2026-08-01T09:03:20Z",
        "  context_graph 1 12 lthash:",
        "not proved: that the events are true, that none was kept from the log, that no event of another number",
    ] {
        assert!(trace.contains(line), "{line}\nin\n{trace}");
    }
    assert!(said("one member").contains("payloads: 6 whole, 1 redacted, 0 withheld"));
    assert!(said("all payloads").contains("payloads: 0 whole, 0 redacted, 7 withheld"));
    assert!(said("a range").contains("with nothing in between"));
}

/// An event of the log that the vectors seal.
struct Sealed {
    event: Event<'static>,
    salts: Salts,
    entry: Entry,
}

/// The whole log of the vectors, out of the pack that has all of it.
fn log() -> Vec<Sealed> {
    let whole = good_packs().into_iter().find(|case| case.about == "the whole log").expect("a pack");
    let lines = whole.pack.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let read = |line: Value| {
        let event: &'static str = line["event"].to_string().leak();
        let event: Event<'static> = serde_json::from_str(event).expect("an event");
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text(&line["salt"])[at * 2..at * 2 + 2], 16).expect("hex");
        }
        let (salts, entry) = (Salts::of(&bytes), Entry(read_base64_of(text(&line["entry"])).expect("an entry")));
        let payload = event.payload.as_ref().expect("a payload");
        assert_eq!(Entry::of(&event.sealed(), &payload.0, &salts), entry);
        Sealed { event, salts, entry }
    };
    lines.filter(|line| line.get("event").is_some()).map(read).collect()
}

fn leaves(log: &[Sealed]) -> Vec<Hash> {
    log.iter().map(|sealed| sealed.entry.leaf_hash()).collect()
}

fn roots(leaves: &[Hash], parts: &[Leaves]) -> Vec<Hash> {
    parts.iter().map(|part| root_of(&leaves[part.start as usize..part.end as usize])).collect()
}

/// Writes a pack of these events of the log.
fn written(head: &Head, indices: &[u64], shown: impl Fn(u64) -> Shown<'static>, checkpoint: &str) -> Writer<Vec<u8>> {
    let log = log();
    let leaves = leaves(&log);
    let mut writer = Writer::begin(Vec::new(), head).expect("writes");
    for index in indices {
        let Sealed { event, salts, entry } = &log[*index as usize];
        writer.event(*index, entry, event, salts, shown(*index)).expect("writes");
    }
    let parts = multiproof::subtrees(leaves.len() as u64, indices).expect("inside");
    writer.proof(leaves.len() as u64, &roots(&leaves, &parts)).expect("writes");
    writer.checkpoint(checkpoint).expect("writes");
    writer
}

const ORIGIN: &str = "log.example/decisions/7f1c";

/// A checkpoint that the log's key of the vectors signed.
fn checkpoint(size: u64, root: &Hash) -> String {
    let signer = SigningKey::of_seed("log", &[1; 32]).expect("a key");
    let text = Checkpoint { origin: ORIGIN.to_owned(), head: TreeHead { size, root: *root } }.text();
    signed(&text, &[signer.sign(ORIGIN, &text).expect("signs")])
}

#[test]
fn packs_are_written_byte_for_byte_as_the_contract_has_them() {
    let (trace, whole) = ([0, 1, 2, 3, 4, 7, 9], |_: u64| Shown::Whole);
    let of_trace = Head::new(Kind::Trace, ORIGIN, "default", Some("lead-17"));
    let of = |kind| Head::new(kind, ORIGIN, "default", None);
    let expected = |about: &str| cases().into_iter().find(|case| case.about == about).expect("a pack").pack;
    let bytes = |writer: Writer<Vec<u8>>| String::from_utf8(writer.into_inner()).expect("UTF-8");

    let range: Vec<u64> = (3..9).collect();
    assert_eq!(bytes(written(&of(Kind::Range), &range, whole, note("checkpoint"))), expected("a range"));
    assert_eq!(bytes(written(&of(Kind::Events), &[0, 11], whole, note("checkpoint"))), expected("single events"));
    let mut writer = written(&of_trace, &trace, whole, note("cosigned"));
    writer.statement(note("statement")).expect("writes");
    assert_eq!(bytes(writer), expected("a whole trace, with statement and witness"));
    let redacted = |index: u64| if index == 3 { Shown::Without(&["input_id"]) } else { Shown::Whole };
    let pack = bytes(written(&of_trace, &trace, redacted, note("checkpoint")));
    assert_eq!(pack, expected("one member of a payload is redacted"));
    let pack = bytes(written(&of_trace, &trace, |_| Shown::Nothing, note("checkpoint")));
    assert_eq!(pack, expected("all payloads are withheld"));
    let key = SigningKey::of_seed("new", &[4; 32]).expect("a key");
    let checkpoint = note("checkpoint").split_once("\n\n").expect("a note").0.to_owned() + "\n";
    let by_new = signed(&checkpoint, &[key.sign(ORIGIN, &checkpoint).expect("signs")]);
    let mut writer = written(&of_trace, &trace, whole, &by_new);
    writer.rotation(note("rotation")).expect("writes");
    assert_eq!(bytes(writer), expected("signed by the key that a rotation brings"));
}

#[test]
fn a_redacted_pack_holds_nothing_of_what_it_hides() {
    let head = Head::new(Kind::Events, ORIGIN, "default", None);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for shown in [Shown::Without(&["kind"]), Shown::Nothing] {
        let pack = written(&head, &[3, 4], |_| shown, note("checkpoint")).into_inner();
        let pack = String::from_utf8(pack).expect("UTF-8");
        assert!(!pack.contains("kind\\\"") && !pack.contains("note\\\""), "{pack}");
        for sealed in &log()[3..5] {
            assert!(!pack.contains(&hex(&sealed.salts.body)) && pack.contains(&hex(&sealed.salts.envelope)));
        }
        let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
        assert!(judge(pack.as_bytes(), &trust).is_ok());
    }
}

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
    assert_eq!(run(&path, &checkpoint(7, &root_of(&leaves[..7]))).0, 3);
    assert_eq!(run(&path, &older.replace("\n8\n", "\n7\n")).0, 3);
    // Two notes for one size are compared without a proof.
    let newest = files.put("newest", note("checkpoint"));
    assert_eq!(run(&newest, note("cosigned")).0, 0);
    let (code, said) = run(&newest, &checkpoint(12, &[1; 32]));
    let expected =
        format!("checkpoint_differs: two roots for 12 events, both signed by {log_key}: the log has been forked");
    assert!(code == 3 && said.starts_with(&expected), "{said}");
    let (code, said) = run(&newest, &older);
    assert!(code == 2 && said.contains("compared by a consistency proof"), "{said}");
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
        (vec!["--key", &log_key, "--witness", &witness, "--quorum", "2"], "2 witnesses are asked for, and 1 are named"),
        (
            vec!["--key", &log_key, "--witness", &witness, "--witness", &witness, "--quorum", "1"],
            "one witness is named twice",
        ),
        (vec!["--key", &log_key, "--event", &pack], "is not a proof"),
        (vec!["--key", &log_key, "--against", &pack], "not compared"),
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

proptest! {
    /// One flipped bit anywhere in a pack is refused.
    #[test]
    fn a_flipped_bit_in_a_pack_is_refused(picks in prop::collection::vec(any::<prop::sample::Index>(), 4)) {
        for case in good_packs() {
            let trust = case.trust();
            for pick in &picks {
                let (mut bytes, bit) = (case.pack.as_bytes().to_vec(), pick.index(case.pack.len() * 8));
                bytes[bit / 8] ^= 1 << (bit % 8);
                let judged = judge(&bytes, &trust);
                prop_assert!(judged.is_err(), "{}: bit {} of byte {}", case.about, bit % 8, bit / 8);
            }
        }
    }

    /// One flipped bit anywhere in a proof, a consistency proof or a note is refused.
    #[test]
    fn a_flipped_bit_in_a_proof_or_a_note_is_refused(pick: prop::sample::Index) {
        let case = &VECTORS["notes"]["tlog_proof"];
        let event = case["event"].to_string();
        let proof = Beside { event: Some(&event), against: None };
        let none = Beside::default();
        let with_witness = Trust::new(&[key("log")], &[key("witness")], 1).expect("keys");
        let alone = Trust::new(&[key("log")], &[], 0).expect("keys");
        let older = checkpoint(8, &root_of(&leaves(&log())[..8]));
        let grown = Beside { event: None, against: Some(&older) };
        for (content, beside, trust) in [
            (text(&case["proof"]), proof, &with_witness),
            (note("add_checkpoint"), grown, &alone),
            (note("cosigned"), none, &with_witness),
            (note("checkpoint"), none, &alone),
            (note("statement"), none, &alone),
            (note("rotation"), none, &alone),
            (note("fork"), none, &alone),
            (note("erasure"), none, &alone),
        ] {
            let (mut bytes, bit) = (content.as_bytes().to_vec(), pick.index(content.len() * 8));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(audit(bytes.as_slice(), beside, trust).is_err(), "bit {bit} of {content}");
        }
        let mut changed = event.clone().into_bytes();
        let bit = pick.index(changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = String::from_utf8(changed) {
            let beside = Beside { event: Some(&changed), against: None };
            prop_assert!(audit(text(&case["proof"]).as_bytes(), beside, &with_witness).is_err(), "{changed}");
        }
    }

    /// A pack with a line left out, doubled or moved, or with any bytes in between, is judged.
    #[test]
    fn any_pack_is_judged(
        which: prop::sample::Index,
        from: prop::sample::Index,
        to: prop::sample::Index,
        noise in prop::collection::vec(any::<u8>(), 0..6),
        edit in 0..4_u8,
    ) {
        let cases = cases();
        let case = which.get(&cases);
        let mut lines: Vec<Vec<u8>> = case.pack.lines().map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        match edit {
            0 => drop(lines.remove(from)),
            1 => lines.insert(to, lines[from].clone()),
            2 => lines.swap(from, to),
            _ => {
                let at = to.min(lines[from].len() - 1);
                drop(lines[from].splice(at..at, noise));
            }
        }
        let judged = judge(&lines.concat(), &case.trust());
        prop_assert!(!matches!(judged, Err(Failure::Usage(_) | Failure::Unreadable(_))));
    }

    /// Any bytes are judged.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), begin in 0..4_usize) {
        let begin = ["", "{\"pack\":", "c2sp.org/tlog-proof@v1\n", "old 1\n"][begin];
        let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
        let bytes = [begin.as_bytes(), &bytes].concat();
        let _ = judge(&bytes, &trust).map(|accepted| accepted.lines());
    }
}
