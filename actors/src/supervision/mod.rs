//! A small OTP on ractor: supervisors, child specs as data, and a table that shows what runs.
//!
//! ```text
//!   SupervisorSpec ──▶ start_root ──▶ Root ── exited, stop
//!    └─ ChildSpec…        │
//!                         ▼
//!   supervisor (the actor: stops, starts)   ◀──── SupervisorRef: start_child, terminate_child, …
//!    │ exit of a child                │
//!    ▼                                ▼
//!   roster (who does what)          dump: ActorTable ◀──── Vitals: what each actor says of itself
//!    ▼
//!   strategy (pure: stop, start, forget, give up)   intensity, backoff (pure: how often, how soon)
//! ```
//!
//! Semantics are those of OTP's `supervisor`; ADR 6 lists what differs. A failure that is expected is a state of an actor, not
//! an exit: it never comes here.

pub mod backoff;
pub mod child_life;
pub mod child_spec;
pub mod dump;
pub mod exit_reason;
pub mod handle;
pub mod intensity;
mod path;
pub mod root;
pub mod roster;
pub mod strategy;
pub mod supervisor;
pub mod vitals;

pub use backoff::Backoff;
pub use child_life::Started;
pub use child_spec::{ChildKind, ChildSpec, Restart, Shutdown, StartFn, SupervisorSpec, start_actor};
pub use dump::{ActorEntry, ActorTable, RestartBudget, TreeEvent};
pub use exit_reason::ExitReason;
pub use handle::{ChildCount, ChildInfo, ChildState, SupervisorError, SupervisorRef};
pub use intensity::Intensity;
pub use root::{ROOT_GAVE_UP_EXIT_CODE, Root, start_root};
pub use strategy::Strategy;
pub use vitals::{Address, CallError, Gone, Vitals};
