//! The node server of `ractor_cluster`, as both sides use it here: isolated, reached through connections that we hand over.
//!
//! It always binds a TCP port of its own: on loopback, where only the cookie, 256 random bits, opens anything.

use super::preamble::Cookie;
use ractor_cluster::NodeServer;
use ractor_cluster::node::NodeConnectionMode;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// Largest ask, in bytes: a chunk of 64 MiB of lines, escaped.
pub const ASK_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Largest frame that a node takes in, in bytes.
pub const INBOUND_BYTES_MAX: u64 = ASK_BYTES_MAX as u64 + 64 * 1024;

/// A node server of this process. Its name is its own: two with one name would shut each other out.
pub fn local_node(kind: &str, cookie: Cookie, inbound_bytes_max: u64) -> NodeServer {
    let host = Uuid::new_v4().to_string();
    let mode = Some(NodeConnectionMode::Isolated);
    NodeServer::new(0, cookie.to_text(), kind.to_owned(), host, None, mode)
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(inbound_bytes_max)
}
