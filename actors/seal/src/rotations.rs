//! The list of a node's key rotations: `rotations.jsonl` in the directory of its journal.
//!
//! ```text
//! {"from":"/etc/seal.key","to":"/etc/seal-2027.key","at":"2026-12-01T09:30:00Z"}
//! ```
//!
//! A rotation does not change the configuration. The key that the configuration names leads to the key that signs now:
//! from each `from` to its `to`. So a running node takes the new key without a restart, and a configuration that
//! already names the new key still finds the former one.
//!
//! *Guarantees.* The list names files. It never contains a key.

use crate::key::KeyError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const FILE: &str = "rotations.jsonl";

/// One rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// File of the key before.
    pub from: PathBuf,
    /// File of the key from then on.
    pub to: PathBuf,
    /// Time of the rotation, RFC 3339.
    pub at: String,
}

/// State of the list's file: it changes with each rotation.
pub(crate) type Stamp = Option<(u64, SystemTime)>;

pub(crate) fn stamp(directory: &Path) -> Stamp {
    let facts = fs::metadata(directory.join(FILE)).ok()?;
    Some((facts.len(), facts.modified().ok()?))
}

/// Reads the list, the oldest first.
pub(crate) fn read(directory: &Path) -> Result<Vec<KeyChange>, KeyError> {
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| KeyError::File(path.clone(), error))?,
    };
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let read = lines.map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>();
    read.ok_or(KeyError::NotRotations(path))
}

/// Adds a rotation, unless the list ends with it. `from` and `to` exist.
pub fn add(directory: &Path, change: &KeyChange) -> Result<(), KeyError> {
    let absolute = |path: &Path| path.canonicalize().map_err(|error| KeyError::File(path.to_owned(), error));
    let change = KeyChange { from: absolute(&change.from)?, to: absolute(&change.to)?, at: change.at.clone() };
    if read(directory)?.last().is_some_and(|last| (&last.from, &last.to) == (&change.from, &change.to)) {
        return Ok(());
    }
    let path = directory.join(FILE);
    let write = || {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all((serde_json::to_string(&change)? + "\n").as_bytes())?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error: std::io::Error| KeyError::File(path.clone(), error))
}

/// Returns the rotation that brought this key file, when the list has one.
pub fn to(directory: &Path, key_file: &Path) -> Result<Option<KeyChange>, KeyError> {
    let key_file = key_file.canonicalize().unwrap_or_else(|_| key_file.to_owned());
    Ok(read(directory)?.into_iter().rfind(|change| change.to == key_file))
}

/// Follows the list from the configured key file. Returns the file of the key that signs now, and the last rotation
/// that led to it.
pub(crate) fn follow(configured: &Path, changes: &[KeyChange]) -> (PathBuf, Option<KeyChange>) {
    let mut key = configured.canonicalize().unwrap_or_else(|_| configured.to_owned());
    for change in changes {
        if change.from == key {
            key = change.to.clone();
        }
    }
    let last = changes.iter().rfind(|change| change.to == key).cloned();
    (key, last)
}
