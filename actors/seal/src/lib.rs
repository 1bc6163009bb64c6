//! Evidence that the log is as it was: keys, signed notes, proofs and packs, and their audit.
//!
//! *Guarantees.* [`audit`] believes what the named keys signed, and nothing else in a file. It answers with one of the
//! words of [`Finding`]. No content makes it panic, and a line has a bounded length.
//!
//! [`SigningKeys`] sign notes for a node. [`Memory`] remembers them in its journal and in [`place`]s.
//!
//! *Never here:* a database, a socket, an async runtime, a clock. The program of an auditor has none of them.
//!
//! The encodings are pure functions in [`decisiongraph_projections::seal`].

mod accepted;
mod audit;
pub mod command;
mod compare;
pub mod consistency;
mod event;
mod finding;
mod hex;
pub mod key;
mod memory;
pub mod pack;
pub mod place;
mod policy;
pub mod rotations;
mod salts;
pub mod signatures;
mod signing;
mod single_note;
pub mod tlog_proof;
mod trust;

pub use accepted::{Accepted, NoteSaid};
pub use audit::{Beside, audit};
pub use event::{Event, Text};
pub use finding::{Failure, Finding, Refused};
pub use memory::{Answered, Memory};
pub use place::{Folder, Objects, Place, PlaceError, Remembered};
pub use salts::draw_salts;
pub use signing::{SigningKeys, fork_origin, rotation};
pub use trust::{Trust, Trusted, Witness};
