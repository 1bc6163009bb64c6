//! Jobs beside the live work: catch-up, rebuild and verify. Each is a temporary child that survives its own death.
//!
//! ```text
//!   asked ──▶ replay coordinator ──▶ run row (claims its scopes) ──▶ job child ──▶ completed / failed / cancelled
//!                   ▲                                                  │ killed, crashed, node gone
//!                   └────────────── adopted: same run, goes on ────────┘
//! ```

mod board;
mod coordinator;
mod follow;
mod job;

pub use board::{JobBoard, JobView};
pub use coordinator::{ReplayCoordinator, ReplayMessage};
pub use job::Job;
