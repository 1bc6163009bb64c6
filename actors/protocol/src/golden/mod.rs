//! The JSON on the wire, kept as data: programs of other releases write and read it.

use crate::{AdminReply, AdminRequest};
use std::collections::BTreeSet;

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
    let names = "appended changes cluster digest edges events export_page export_start failure failures health job \
                 migrated peer precedents rebuild_check reference_digest run runs skipped status steered subgraph \
                 tenants trace tree watch why";
    assert_eq!(words::<AdminReply>(), names.split_whitespace().map(str::to_owned).collect());
}
