//! Runs the real program, and makes fixture files from generated logs.
#![allow(dead_code)]

use decisiongraph_store::launch;
use decisiongraph_store::throwaway::{PROGRAMS_VARIABLE, SERVER_VARIABLE};
use std::path::PathBuf;

/// Result of a run.
pub struct Run {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    pub fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }

    /// Returns the lines that name the failures, at most 20.
    pub fn failures(&self) -> String {
        let lines: Vec<&str> = self.stdout.lines().filter(|line| line.starts_with("FAIL")).take(20).collect();
        format!("{}\n{}", lines.join("\n"), self.stderr)
    }
}

/// Returns the path of the project's own fixtures.
pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Runs `decisiongraph-parity`.
pub fn parity(arguments: &[&str], database_url: Option<&str>) -> Run {
    let mut command = launch::program(env!("CARGO_BIN_EXE_decisiongraph-parity"));
    command.args(arguments);
    // Variables that name the server that this test run has started or may start, if they are set.
    for name in [SERVER_VARIABLE, PROGRAMS_VARIABLE] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    let output = command.output().expect("the program runs");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Generates a log.
pub fn generate(seed: u64, events: u64) -> String {
    let run = parity(&["generate", "--seed", &seed.to_string(), "--events", &events.to_string()], None);
    assert!(run.ok(), "{}", run.stderr);
    run.stdout
}

/// Returns digests of generated logs, computed once by an independent fold.
pub fn independent() -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(fixtures().join("generated_mixed.digests.json")).expect("a fixture");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["workloads"].as_array().expect("a list").clone()
}

/// Writes a bundle whose one scenario is a generated log with the independent digests of its seed, after an edit.
/// Events stay text: a JSON library would turn their big integers into floats.
pub fn scenario_bundle(
    seed: u64,
    events: u64,
    edit: impl FnOnce(&mut Vec<String>, &mut serde_json::Value),
) -> (tempfile::TempDir, String) {
    let mut workloads = independent();
    let workload = workloads.iter_mut().find(|of| of["seed"] == seed).expect("digests of this seed");
    let mut digests = workload["digests"].take();
    let mut events: Vec<String> = generate(seed, events).lines().map(str::to_owned).collect();
    edit(&mut events, &mut digests);
    let file = format!(
        r#"{{"format":"decisiongraph.reference_fixture_bundle","version":1,"scenarios":[{{"scenario":"generated","events":[{}],"expected_digests":{digests}}}]}}"#,
        events.join(",")
    );
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("generated.json");
    std::fs::write(&path, file).expect("writes");
    (directory, path.display().to_string())
}
