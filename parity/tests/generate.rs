//! `generate` writes the same bytes everywhere. The program's result from them equals that of an independent fold.

mod run;

use run::{fixtures, generate, independent, parity};

#[test]
fn the_bytes_are_pinned() {
    let stored = std::fs::read_to_string(fixtures().join("generated_mixed_seed7.jsonl")).expect("a fixture");
    assert!(generate(7, 600) == stored, "generate --seed 7 --events 600 is the stored file");
    for workload in independent() {
        let (seed, events) =
            (workload["seed"].as_u64().expect("a seed"), workload["events"].as_u64().expect("a count"));
        let log = generate(seed, events);
        assert_eq!(log.lines().count() as u64, events);
        let hash = decisiongraph_projections::payload_hash::sha256_hex(log.as_bytes());
        assert_eq!(hash, format!("sha256:{}", workload["sha256"].as_str().expect("a hash")), "seed {seed}");
    }
}

#[test]
fn every_generated_log_folds_to_the_independent_digests() {
    for workload in independent() {
        let (seed, events) =
            (workload["seed"].as_u64().expect("a seed"), workload["events"].as_u64().expect("a count"));
        let lines = generate(seed, events);
        let events: Vec<&str> = lines.lines().collect();
        let file = format!(
            r#"{{"format":"decisiongraph.reference_fixture_bundle","version":1,"scenarios":[{{"scenario":"s","events":[{}],"expected_digests":{}}}]}}"#,
            events.join(","),
            workload["digests"]
        );
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("generated.json");
        std::fs::write(&path, file).expect("writes");
        let run = parity(&["check", "--batch-size", "333", &path.display().to_string()], None);
        assert!(run.ok(), "seed {seed}: {}", run.failures());
    }
}

#[test]
fn profiles_and_arguments() {
    let run = parity(&["generate", "--profile", "original", "--events", "13"], None);
    assert_eq!(run.stdout.lines().count(), 13);
    assert!(run.stdout.lines().nth(12).expect("a line").contains("\"trace_id\":\"trace-3\""));
    let run = parity(&["generate", "--profile", "tenants", "--tenants", "3", "--events", "200"], None);
    for tenant in ["tenant-00000", "tenant-00001", "tenant-00002"] {
        assert!(run.stdout.contains(tenant));
    }
    assert!(parity(&["generate", "--events", "0"], None).stdout.is_empty());
    assert_eq!(parity(&["generate"], None).code, Some(1), "how many?");
}
