//! The interface of agents, applications and operators: JSON over HTTP under `/api`.
//!
//! ```text
//!  connection ─▶ router ─▶ enter ───────────────────────────────▶ route ─▶ Call::ask ─▶ Desk ─▶ Answers
//!  server.rs    routes.rs  id, identity, tenant, right, rate, body   events.rs, graph.rs, operate.rs, …
//! ```
//!
//! *Guarantees.* Every answer has the envelope or a form that its route names, and the id of the request. A body is
//! read only after its sender proved an identity that has the right. A change runs to its end when its client hangs up.
//! No answer tells a caller about a tenant that is not the caller's.
//!
//! *Never here:* rules about events, queries and jobs. They are decided where the command line has them decided.

mod append;
mod audit;
mod call;
mod cursor;
mod enter;
mod events;
mod fault;
mod feeds;
mod graph;
mod held;
mod interface;
mod limits;
mod meta;
mod objects;
pub mod openapi;
mod operate;
pub mod page;
mod parameter;
mod proofs;
mod query;
mod replays;
mod route;
mod router;
mod routes;
mod schemas;
mod seal;
mod server;
mod spans;
mod sse;
mod stream;
mod surroundings;
mod traces;
mod validator;

pub use interface::{Adopt, Api, ApiBounds, ApiParts};
pub use limits::{Class, Rates};
pub use parameter::{Form, Parameter};
pub use route::{Needs, Place, Route, Takes};
pub use routes::ROUTES;
pub use server::{ApiListen, ApiServer};
pub use surroundings::{NodeState, Surroundings};
