//! The JSON on the wire, kept as data: programs of other releases write and read it.

use crate::{AdminReply, AdminRequest, Facts};
use std::collections::BTreeSet;
use std::path::Path;

/// One request per line, in the bytes of the first release that had it. A later release may add lines, and change none.
const REQUESTS: &str = include_str!("requests.jsonl");

/// Returns the words that the reader of `T` knows.
fn words<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(r#"{"no such word":0}"#).err().expect("unknown").to_string();
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_request_is_written_in_the_bytes_that_other_releases_know() {
    let mut known = BTreeSet::new();
    for line in REQUESTS.lines() {
        let request: AdminRequest = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(serde_json::to_string(&request).expect("writes"), line);
        let word = line.split('"').nth(1).expect("a word");
        assert_eq!(request.facts().word, word);
        known.insert(word.to_owned());
    }
    assert_eq!(known, words::<AdminRequest>(), "each request has a line");
}

#[test]
fn a_request_without_its_later_fields_is_understood() {
    for (old, now) in [
        (r#"{"catch_up":{"tenant":null,"projection":null}}"#, r#""passed_on":false}}"#),
        (r#"{"failure":{"failure_id":7}}"#, r#""replay":false,"of":{"tenant":null,"projection":null}}}"#),
        (r#"{"tenants":{"limit":7}}"#, r#"{"tenants":{"after":null,"limit":7}}"#),
    ] {
        let request: AdminRequest = serde_json::from_str(old).expect("reads");
        let written = serde_json::to_string(&request).expect("writes");
        assert!(written.ends_with(now), "{written}");
    }
}

#[test]
fn every_reply_keeps_its_name() {
    let names = "appended audit_pack changes checkpoints cluster consistency digest edges events export_page \
                 export_start failure failures health job migrated peer precedents proof rebuild_check \
                 reference_digest run runs seal_checkpoints seal_memory seal_status seal_tile sealed skipped status steered \
                 subgraph tenants trace traces tree watch why";
    assert_eq!(words::<AdminReply>(), names.split_whitespace().map(str::to_owned).collect());
}

/// Facts of each request: word, first protocol, `changes` or `reads`, right.
const FACTS: &str = include_str!("facts.txt");

#[test]
fn the_facts_of_a_request_are_the_contract() {
    let mut facts = BTreeSet::new();
    for line in REQUESTS.lines() {
        let Facts { word, since, changes, right, .. } =
            serde_json::from_str::<AdminRequest>(line).expect("reads").facts();
        let right = right.map_or("none".to_owned(), |right| {
            serde_json::to_value(right).expect("a word").as_str().expect("a word").to_owned()
        });
        facts.insert(format!("{word} {since} {} {right}", if changes { "changes" } else { "reads" }));
    }
    assert_eq!(facts.into_iter().collect::<Vec<_>>(), FACTS.lines().collect::<Vec<_>>());
}

/// Requests that code below the commands sends or passes on, and the files that do.
const SENDERS: [(&str, &str); 7] = [
    ("CatchUpRequest", "admin/src/steer.rs"),
    ("StatusRequest", "admin/src/overview.rs"),
    ("PeerRequest", "runtime/src/cluster/link.rs"),
    ("TreeRequest", "runtime/src/cluster/link.rs"),
    ("PeerRequest", "runtime/src/node/peers.rs"),
    ("PeerRequest", "runtime/src/node/answers/scopes.rs"),
    ("SealMemoryRequest", "runtime/src/cluster/memory.rs"),
];

/// Collects the Rust files below a folder, by path, without their tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).expect("a file");
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            found.push((path.to_string_lossy().into_owned(), text));
        }
    }
}

fn names(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// To add a request takes three places: its file, its line in the table, its handler. (A command is the fourth, a route
/// the fifth, and a node that knows more than the database has a handler of its own.)
#[test]
fn a_request_is_named_in_its_file_in_the_table_and_by_its_handlers() {
    let actors = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for crate_of in ["protocol", "engine", "admin", "rpc", "http", "runtime"] {
        sources(&actors.join(crate_of).join("src"), &mut files);
    }
    files.retain(|(path, _)| !path.contains("/golden/"));
    let table = include_str!("../requests/mod.rs").split("\nrequests! {").nth(1).expect("the table");
    let requests: Vec<&str> = table
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > "Request".len() && word.ends_with("Request"))
        .collect();
    assert_eq!(requests.len(), words::<AdminRequest>().len());
    for request in requests {
        let mut handlers = 0;
        for (path, text) in files.iter().filter(|(_, text)| names(text, request)) {
            let handler = text.contains(&format!("Handle<{request}>"))
                || text.contains(&format!("AnswerFrom<FromNode, {request}>"));
            handlers += usize::from(handler);
            let table = path.ends_with("protocol/src/requests/mod.rs");
            let own = path.contains("protocol/src/requests/")
                && (text.contains(&format!("struct {request}"))
                    || text.contains(&format!("enum {request}"))
                    || text.contains(&format!("type {request} ")));
            // A route is a sender, as a command is: each is one more place.
            let route = path.contains("/http/src/api/");
            let sender = route || SENDERS.iter().any(|(sent, by)| *sent == request && path.ends_with(by));
            assert!(handler || table || own || sender, "{path} names {request}");
        }
        assert!((1..=2).contains(&handlers), "{request}: {handlers} handlers");
    }
}
