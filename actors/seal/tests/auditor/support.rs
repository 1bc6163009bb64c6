//! The vectors, the log that they seal, and the program.

use decisiongraph_projections::seal::leaf::{Entry, Salts};
use decisiongraph_projections::seal::note::signed;
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead};
use decisiongraph_projections::seal::tree::{Leaves, root_of};
use decisiongraph_projections::seal::{Hash, read_base64_of};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::{Accepted, Beside, Event, Failure, Trust, audit};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

pub static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/fixtures/seal_vectors.json");
    serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
});

pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub fn note(name: &str) -> &'static str {
    text(&VECTORS["notes"][name])
}

pub fn key(name: &str) -> String {
    text(&VECTORS["notes"]["keys"][name]).to_owned()
}

/// A pack of the vectors.
pub struct Case {
    pub about: &'static str,
    pub pack: &'static str,
    pub keys: Vec<String>,
    pub witnesses: Vec<String>,
    pub quorum: usize,
    pub exit: u8,
    pub finding: Option<&'static str>,
}

impl Case {
    pub fn trust(&self) -> Trust {
        Trust::new(&self.keys, &self.witnesses, self.quorum).expect("keys")
    }
}

pub fn cases() -> Vec<Case> {
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

pub fn good_packs() -> Vec<Case> {
    cases().into_iter().filter(|case| case.exit == 0).collect()
}

pub fn judge(bytes: &[u8], trust: &Trust) -> Result<Accepted, Failure> {
    audit(bytes, Beside::default(), trust)
}

/// The word of the first finding, if any, and the exit code.
pub fn verdict(judged: &Result<Accepted, Failure>) -> (Option<&'static str>, u8) {
    match judged {
        Ok(_) => (None, 0),
        Err(Failure::Refused(refused)) => (Some(refused.finding.as_str()), refused.finding.exit_code().0),
        Err(failure) => panic!("{failure}"),
    }
}

/// Runs the program without any variables of the tester.
#[expect(clippy::disallowed_methods, reason = "the launcher of the store would bring a database below this crate")]
pub fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_decisiongraph-audit")).env_clear().args(arguments).output().expect("runs")
}

/// A directory with files, for the program.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory"))
    }

    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, content).expect("writes");
        path.display().to_string()
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// An event of the log that the vectors seal.
pub struct Sealed {
    pub event: Event<'static>,
    pub salts: Salts,
    pub entry: Entry,
}

/// The whole log of the vectors, out of the pack that has all of it.
pub fn log() -> Vec<Sealed> {
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

pub fn leaves(log: &[Sealed]) -> Vec<Hash> {
    log.iter().map(|sealed| sealed.entry.leaf_hash()).collect()
}

pub fn roots(leaves: &[Hash], parts: &[Leaves]) -> Vec<Hash> {
    parts.iter().map(|part| root_of(&leaves[part.start as usize..part.end as usize])).collect()
}

pub const ORIGIN: &str = "log.example/decisions/7f1c";

/// A checkpoint that the log's key of the vectors signed.
pub fn checkpoint(size: u64, root: &Hash) -> String {
    let signer = SigningKey::of_seed("log", &[1; 32]).expect("a key");
    let text = Checkpoint { origin: ORIGIN.to_owned(), head: TreeHead { size, root: *root } }.text();
    signed(&text, &[signer.sign(ORIGIN, &text).expect("signs")])
}
