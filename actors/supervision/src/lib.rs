//! A small OTP on ractor: supervisors, child specs as data, and a table that shows what runs.
//!
//! ```text
//!   SupervisorSpec ──▶ start_root ──▶ Root ── exited, stop
//!    └─ ChildSpec…        │
//!                         ▼
//!   supervisor (the actor: stops, starts)   ◀──── SupervisorRef: start_child, terminate_child, …
//!    │ exit of a child                │
//!    ▼                                ▼
//!   roster (child states)           dump: ActorTable ◀──── Vitals: each actor's own facts
//!    ▼
//!   strategy (pure: stop, start, forget, give up)   intensity, backoff (pure: restarts per period, delay)
//! ```
//!
//! Semantics are those of OTP's `supervisor`; ADR 6 of this repository lists the differences. An expected failure is a
//! state of an actor, not an exit: a supervisor never sees it.
//!
//! [`roster`] and [`strategy`] hold the decisions as pure functions, so that tests can replay histories without actors.

mod backoff;
mod child_life;
mod child_spec;
mod dump;
mod exit_reason;
mod handle;
mod intensity;
mod path;
mod root;
pub mod roster;
pub mod strategy;
mod supervisor;
mod vitals;

pub use backoff::Backoff;
pub use child_life::{KILL_WAIT_MAX, START_WAIT_MAX, Started};
pub use child_spec::{ChildKind, ChildSpec, Shutdown, StartFn, SupervisorSpec, WORKER_SHUTDOWN_MAX, start_actor};
pub use dump::{ActorEntry, ActorTable, RestartBudget, TreeEvent};
pub use exit_reason::{ExitReason, FAILURE_CHARS_MAX};
pub use handle::{CALL_WAIT_MAX, ChildCount, ChildInfo, ChildState, SupervisorError, SupervisorRef};
pub use intensity::{Intensity, RestartWindow};
pub use root::{ROOT_GAVE_UP_EXIT_CODE, Root, start_root};
pub use strategy::{Restart, Strategy};
pub use supervisor::{STOPS_TOGETHER_MAX, SupervisorMessage};
pub use vitals::{Address, CallError, Gone, Vitals, WORK_CHARS_MAX};
