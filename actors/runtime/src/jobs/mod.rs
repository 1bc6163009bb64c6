//! Jobs beside the live work: catch-up, rebuild and verify. Each is a transient child that survives its own death.
//!
//! ```text
//!   asked ──▶ replay coordinator ──▶ run row (claims its scopes) ──▶ job child ──▶ completed / failed / cancelled
//!                   ▲                                                  │ ▲ └─ killed, crashed ─▶ its supervisor
//!                   └─────────── adopted: same run, goes on ───────────┘ └──── started again ────────┘
//!                                node gone, supervisor gone
//! ```

mod coordinator;
mod follow;
mod job;
mod parts;
mod registry;
mod schedule;

pub use coordinator::{ReplayCoordinator, ReplayMessage};
pub use job::{Job, job_id};
pub use parts::JobParts;
pub use registry::{JobRegistry, JobView};
