//! HTTP of a node: pages for its operators' tools ([`pages`]), and the interface of agents and applications ([`api`]).
//!
//! *Never here:* the meaning of a request. A request becomes one of the admin protocol, and is answered as over every
//! other connection.

pub mod api;
pub mod identities;
mod otlp;
mod pages;

pub use pages::{CONNECTION_DEADLINE, CONNECTIONS_MAX, HEAD_DEADLINE, HttpBounds, HttpServer, Probes};
