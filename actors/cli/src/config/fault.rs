//! Faults of a configuration, and the source of each value.
//!
//! *Guarantees.* A fault never quotes a value that may hold a secret.

use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// No source: the default.
    Default,
    /// A line (from 1) of the file; none for the file as a whole.
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
    /// Several values that do not fit together.
    Together,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Source::File(path, None) => write!(f, "{}", path.display()),
            Source::Variable(name) | Source::Flag(name) => f.write_str(name),
            Source::Together => f.write_str("configuration"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_text}: {message}", source_text = self.place)]
pub struct ConfigFault {
    /// Source of the faulty value.
    pub place: Source,
    /// Description of the fault.
    pub message: String,
}

impl ConfigFault {
    /// Creates a fault at this place.
    pub fn new(place: Source, message: impl Into<String>) -> ConfigFault {
        ConfigFault { place, message: message.into() }
    }
}

/// Returns one `invalid_argument` that lists all faults.
pub fn refused(faults: Vec<ConfigFault>) -> AdminError {
    let list: Vec<String> = faults.iter().map(ConfigFault::to_string).collect();
    let count = match faults.len() {
        1 => "the configuration has a fault".to_owned(),
        count => format!("the configuration has {count} faults"),
    };
    AdminError::new(Category::InvalidArgument, format!("{count}: {}", list.join("; ")))
        .next("correct them; docs/reference/CONFIGURATION.md lists every key, `decisiongraph node --print-config` shows the values in force")
}
