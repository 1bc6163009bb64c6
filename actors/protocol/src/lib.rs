//! Questions of operators and programs to a node, and the answers: requests, replies, errors, exit codes.
//!
//! *Guarantees.* Everything here is plain data with named fields, and means the same in every process. A field that is
//! added later is optional, so that an older program still understands the message.
//!
//! *Never here:* sockets, actors, a database, printing.

mod actors;
mod asker;
mod command;
mod error;
mod exit_code;
pub mod figures;
pub mod foreign_text;
#[cfg(test)]
mod golden;
pub mod lines;
mod live;
pub mod query;
pub mod report;
mod request;
mod requests;
pub mod schema;
mod seal_next;
pub mod writers;

pub use actors::*;
pub use asker::{Asker, Proof, check_reason};
pub use command::{Command, addressed};
pub use error::AdminError;
pub use exit_code::{ExitCode, SEAL_FINDINGS, of_category, of_error, of_health, of_job, seal_finding, worst};
pub use live::{Fault, LiveScope, Phase};
pub use request::{Facts, FromDatabase, FromNode, Handle, Reply, Request, Right, ScopeFilter, Subject};
pub use requests::*;
pub use seal_next::{SEAL_FORGOTTEN, seal_next};
