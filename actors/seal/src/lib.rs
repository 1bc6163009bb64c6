//! Evidence that the log is as it was: keys, signed notes, proofs and packs, and their audit.
//!
//! *Guarantees.* [`audit`] believes what the named keys signed, and nothing else in a file. It answers with one of the
//! words of [`Finding`]. No content makes it panic, and a line has a bounded length.
//!
//! *Never here:* a database, a socket, an async runtime, a clock. The program of an auditor has none of them.
//!
//! The encodings are pure functions in [`decisiongraph_projections::seal`].

mod accepted;
mod audit;
pub mod consistency;
mod event;
mod finding;
mod hex;
pub mod key;
pub mod pack;
mod policy;
pub mod signatures;
mod single_note;
pub mod tlog_proof;
mod trust;

pub use accepted::{Accepted, NoteSaid};
pub use audit::{Beside, audit};
pub use event::{Event, Text};
pub use finding::{Failure, Finding, Refused};
pub use trust::{Trust, Trusted, Witness};
