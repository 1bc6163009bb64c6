//! Runs the real binary on a store that belongs to one test.
#![allow(dead_code)]

pub mod node;

use decisiongraph_store::launch;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A data directory, and the environment that a command sees.
pub struct Cli {
    pub dir: tempfile::TempDir,
}

/// Exit code and output of a command that has ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    pub fn new() -> Cli {
        Cli { dir: tempfile::tempdir().expect("a directory") }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("writes");
        path
    }

    /// Returns the program with no environment of this machine, except the data directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = launch::program(env!("CARGO_BIN_EXE_decisiongraph"));
        command.env("DECISIONGRAPH_DATA_DIR", self.data_dir()).args(args).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().expect("starts"))
    }

    /// Runs the command with this input on stdin.
    pub fn pipe(&self, args: &[&str], input: &[u8]) -> Ended {
        Ended::piped(self.command(args), input)
    }

    /// Runs the command, expects exit 0 and returns its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let ended = self.run(&all);
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
        ended.json()
    }

    /// Imports lines and applies them.
    pub fn filled(lines: &[String]) -> Cli {
        let cli = Cli::new();
        let ended = cli.pipe(&["import", "-"], lines.join("\n").as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(cli.run(&["catch-up"]).code, 0);
        cli
    }
}

impl Ended {
    /// Runs the command with this input on stdin.
    pub fn piped(mut command: Command, input: &[u8]) -> Ended {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        // A program that refuses a line early closes the pipe. That is not a failure of the test.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let out = child.wait_with_output().expect("ends");
        let _ = writer.join();
        Ended::of(out)
    }

    pub fn of(output: Output) -> Ended {
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Returns the JSON lines of an `append`: verdicts, and the summary behind them.
    pub fn verdicts(&self) -> (Vec<Value>, Value) {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let mut lines: Vec<Value> = self.stdout.lines().map(read).collect();
        let summary = lines.pop().unwrap_or_else(|| panic!("no summary: {}", self.stderr));
        (lines, summary["summary"].clone())
    }

    /// Returns the message of the error object, after checking exit code and category.
    #[track_caller]
    pub fn refused(&self, code: i32, category: &str) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let error: Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {}", self.stderr));
        let error = &error["error"];
        assert_eq!(error["category"], category, "{error}");
        assert!(error["next"].as_str().is_some_and(|next| !next.is_empty()), "{error}");
        error["message"].as_str().expect("a message").to_owned()
    }
}

/// Returns an event of a trace as a JSON value that a test may change.
pub fn event(trace: &str, seq: u64, event_type: &str, payload: Value) -> Value {
    json!({
        "event_id": format!("{trace}-{seq}"), "trace_id": trace, "trace_seq": seq, "event_type": event_type,
        "occurred_at": "2026-01-01T00:00:00Z", "source": {"producer_id": "p", "system": "s"},
        "actor": {"actor_type": "agent", "actor_id": "a"}, "idempotency_key": format!("{trace}-{seq}"),
        "payload": payload,
    })
}

pub fn started(trace: &str) -> Value {
    let entity = json!({"entity_type": "account", "entity_id": "acme", "system": "crm"});
    event(trace, 0, "TraceStarted", json!({"workflow": "w", "title": "a title", "primary_entity": entity}))
}

pub fn evaluated(trace: &str, seq: u64) -> Value {
    let policy = json!({"policy_id": "cap", "policy_version": "1"});
    event(trace, seq, "PolicyEvaluated", json!({"policy": policy, "inputs": [], "decision": "allow"}))
}

pub fn finished(trace: &str, seq: u64) -> Value {
    event(trace, seq, "TraceFinished", json!({"outcome": "success"}))
}

/// Returns a whole trace of three events, as lines.
pub fn trace(id: &str) -> Vec<String> {
    [started(id), evaluated(id, 1), finished(id, 2)].iter().map(Value::to_string).collect()
}

/// Returns an export without the times at which its events were stored.
pub fn without_times(export: &str) -> String {
    let line = |line: &str| {
        let (before, rest) = line.split_once("\"recorded_at\":\"").expect("a time");
        let (_, after) = rest.split_once('"').expect("its end");
        format!("{before}{after}\n")
    };
    export.lines().map(line).collect()
}

/// Returns the path of the demo's log.
pub fn enterprise() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/enterprise.jsonl")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
