//! A sealed log as others see it: tiles through every door of a node, two nodes that are compared, and an auditor's
//! monitor that replays an export and serves its metrics. Real programs, on both backends.

#[path = "seal_outside/bisect.rs"]
mod bisect;
mod cli_support;
mod cluster_support;
#[path = "seal_outside/monitor.rs"]
mod monitor;
mod pages;
#[path = "seal_outside/replay.rs"]
mod replay;
mod seal_support;
#[path = "seal_outside/tiles.rs"]
mod tiles;

use seal_support::{Ground, NAME, tenant};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Returns the verifier key of the default tenant's log, as an operator hands it out.
fn key_of(ground: &Ground) -> String {
    let origin = decisiongraph_projections::seal::texts::origin_of(NAME, &tenant());
    let key = decisiongraph_seal::key::SigningKey::read(&ground.cli.path("seal.key")).expect("the key");
    key.verifier(&origin).to_string()
}

/// Asks a page over HTTP. Returns status and body.
fn page(address: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-tenant-id: default\r\n{token}\r\n");
    stream.write_all(head.as_bytes()).expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}
