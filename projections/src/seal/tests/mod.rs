//! The vectors of the contract, and the promises of the tree for all small sizes and for random large ones.

mod chunks;
mod notes;
mod properties;
mod vectors;

use super::leaf::{Salts, SealedEnvelope};
use super::tree::{Leaves, root_of};
use super::{Hash, sha256};
use crate::event::LogSeq;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

fn vectors() -> Value {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parity/fixtures/seal_vectors.json");
    serde_json::from_slice(&std::fs::read(own).expect("a fixture")).expect("JSON")
}

/// The bytes that a hex text stands for.
fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("hex");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn hash(text: &Value) -> Hash {
    unhex(text).try_into().expect("32 bytes")
}

fn hashes(list: &Value) -> Vec<Hash> {
    list.as_array().expect("a list").iter().map(hash).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn sealed(event: &Value) -> SealedEnvelope<'_> {
    let number = |name: &str| event[name].as_i64().expect("a number");
    SealedEnvelope {
        log_seq: LogSeq(number("log_seq")),
        recorded_at_us: number("recorded_at_us"),
        tenant_id: text(&event["tenant_id"]),
        event_id: text(&event["event_id"]),
        trace_id: text(&event["trace_id"]),
        trace_seq: number("trace_seq"),
        event_type: text(&event["event_type"]),
        occurred_at: text(&event["occurred_at"]),
        producer_id: text(&event["producer_id"]),
        source_system: text(&event["source_system"]),
        source_subsystem: event["source_subsystem"].as_str(),
        actor_type: text(&event["actor_type"]),
        actor_id: text(&event["actor_id"]),
        idempotency_key: text(&event["idempotency_key"]),
        correlation_id: event["correlation_id"].as_str(),
        causation_event_id: event["causation_event_id"].as_str(),
        schema_version: number("schema_version"),
        tags: text(&event["tags"]),
    }
}

fn salts(bytes: &[u8]) -> Salts {
    Salts::of(bytes.try_into().expect("32 bytes"))
}

/// The leaves of the tree vectors.
fn chain(size: u64) -> Vec<Hash> {
    (0..size).map(|index| sha256(&[&[0], &(index as u32).to_be_bytes()])).collect()
}

fn roots(leaves: &[Hash], parts: &[Leaves]) -> Vec<Hash> {
    parts.iter().map(|part| root_of(&leaves[part.start as usize..part.end as usize])).collect()
}

#[test]
fn a_hash_is_that_of_the_streaming_hasher_at_every_length() {
    let text: Vec<u8> = (0..1_200u32).map(|at| (at * 7 + at / 256) as u8).collect();
    for bytes in 0..text.len() {
        let (one, two) = text[..bytes].split_at(bytes / 3);
        let whole: Hash = Sha256::digest(&text[..bytes]).into();
        assert_eq!(sha256(&[one, &[], two]), whole, "{bytes} bytes");
    }
}
