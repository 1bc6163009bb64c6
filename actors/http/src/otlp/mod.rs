//! OpenTelemetry in: spans of agents become decision events. Pure: bytes in, lines of the log and answers out.
//!
//! ```text
//!  body ─▶ decode ─▶ mapping (by the table) ─▶ lines, appended by `api` ─▶ a verdict per event ─▶ Tally ─▶ answer
//! ```
//!
//! *Guarantees.* A span that comes twice becomes the same events with the same keys. A span that is not stored is
//! counted, with its reason. Nothing is kept between two requests.
//!
//! *Never here:* rules about events; a member that the span does not give; I/O.

mod answer;
mod attributes;
mod decode;
mod made;
mod mapping;
mod span;
mod table;
mod tally;
#[cfg(test)]
mod tests;

pub use answer::{Form, exported, failed, status};
pub use decode::decode;
pub use made::{Left, Made};
pub use mapping::map;
pub use tally::Tally;
