//! Evidence packs: events of a log with one proof and the signed checkpoint, as JSON lines.
//!
//! ```text
//! head          {"pack":…,"kind":…,"origin":…,"tenant":…}, and "trace_id" of a trace
//! events        in order of their index, each opened whole, redacted, or without its payload
//! proof         one for all leaves
//! checkpoint    once; then any statements, rotations and RFC 3161 answers
//! ```
//!
//! *Guarantees.* Every byte of an event is covered by the signature. A reader keeps 40 bytes per event, the hashes of
//! the proof and the notes, whatever the length of the file.
//!
//! *Never:* a member that is not in the list above, and none of them twice.

mod audit;
mod line;
mod writer;

pub(crate) use audit::audit;
pub use audit::{Proven, Stated};
pub use writer::{Shown, Writer};

use serde::{Deserialize, Serialize};

/// Longest line of a pack, in bytes.
pub const LINE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The value of `pack` in the head.
const FORMAT: &str = "decisiongraph/audit-pack/v1";

/// Selection of the events of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All events of a trace, from number 0.
    Trace,
    /// All events between two.
    Range,
    /// Any events.
    Events,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format, with its version.
    pack: String,
    /// Selection of the events.
    pub kind: Kind,
    /// Name of the log.
    pub origin: String,
    /// Tenant of the events.
    pub tenant: String,
    /// Trace of the events.
    #[serde(default, deserialize_with = "crate::event::present", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Head {
    /// Creates the head of a pack. With a trace it is the pack of that trace.
    pub fn new(kind: Kind, origin: &str, tenant: &str, trace_id: Option<&str>) -> Head {
        let kind = if trace_id.is_some() { Kind::Trace } else { kind };
        let (origin, tenant) = (origin.to_owned(), tenant.to_owned());
        Head { pack: FORMAT.to_owned(), kind, origin, tenant, trace_id: trace_id.map(str::to_owned) }
    }

    /// True when format and members fit together.
    fn is_known(&self) -> bool {
        self.pack == FORMAT && (self.kind == Kind::Trace) == self.trace_id.is_some()
    }
}
