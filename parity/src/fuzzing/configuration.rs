//! A configuration file, variables and flags. Every fault is reported in few words, the values in force can be read
//! back, and no secret shows.
//!
//! Lines after the first `---` are `NAME=VALUE` of the environment, or `--flag value`.

use super::{refused, visible};
use decisiongraph_cli::config::{self, ConfigFault, Effective, NodeConfig};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Password of the database that is used when the input names none.
const PASSWORD: &str = "kX9-canary-7Qz";
/// Longest message of a fault, in bytes.
const FAULT_BYTES_MAX: usize = 1_024;

pub(super) fn offer(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, rest) = text.split_once("---\n").unwrap_or((text, ""));
    let mut env = HashMap::from([
        ("HOME".to_owned(), "/home/operator".to_owned()),
        ("DATABASE_URL".to_owned(), format!("postgres://node:{PASSWORD}@db.example/log")),
        ("DECISIONGRAPH_SECRET".to_owned(), format!("{PASSWORD}{PASSWORD}brick")),
    ]);
    let mut flags = Vec::new();
    for line in rest.lines() {
        match (line.strip_prefix("--").and_then(|flag| flag.split_once(' ')), line.split_once('=')) {
            (Some((flag, value)), _) => flags.push((flag.to_owned(), value.to_owned())),
            // A file that another user chose would be another input.
            (None, Some((name, value))) if name != "DECISIONGRAPH_CONFIG" => {
                env.insert(name.to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    NodeConfig::unknown_variables(env.keys().cloned()).iter().for_each(told);
    let path = write(file);
    let loaded = NodeConfig::load(Some(&path), |name| env.get(name).cloned(), flags);
    let shown = match &loaded {
        Ok(config) => {
            reads_back(config);
            format!("{config:?}\n{}", config.to_text())
        }
        Err(faults) => {
            faults.iter().for_each(told);
            let faults: Vec<String> = faults.iter().map(|fault| format!("{fault}\n{fault:?}")).collect();
            faults.join("\n")
        }
    };
    assert!(text.contains(PASSWORD) || !shown.contains(PASSWORD), "a secret shows: {shown}");
    if let Err(faults) = loaded
        && faults.len() == 1
    {
        refused(&config::refused(faults));
    }
}

fn told(fault: &ConfigFault) {
    let text = fault.to_string();
    visible(&text);
    assert!(text.len() <= FAULT_BYTES_MAX, "{} bytes: {text}", text.len());
}

/// Checks that the printed configuration reads back with the same values, except for the password, which is not
/// printed.
fn reads_back(config: &NodeConfig) {
    let text = config.to_text();
    let env = |name: &str| {
        let of_tests =
            [("HOME", "/home/operator"), ("DECISIONGRAPH_SECRET", "one that the file does not name: 0123456789")];
        of_tests.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    let again = NodeConfig::load(Some(&write(&text)), env, Vec::new());
    let again = again.unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    let values = |config: &NodeConfig| -> Vec<(&str, String)> {
        config.effective().into_iter().map(|Effective { key, value, .. }| (key, value)).collect()
    };
    assert_eq!(values(&again), values(config), "{text}");
}

/// Writes a file with this text, over the file of the input before.
fn write(text: &str) -> PathBuf {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder");
    }
    FOLDER.with(|folder| {
        let path = folder.path().join("node.toml");
        std::fs::write(Path::new(&path), text).expect("writes");
        path
    })
}
