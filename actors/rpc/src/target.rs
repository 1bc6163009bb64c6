//! Addresses of a node: `unix:PATH` or `HOST:PORT`.
//!
//! *Guarantees.* TCP without TLS is for this machine only, on both sides: data after the preamble is not encrypted.

use super::secret::Secret;
use super::tls::Tls;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::on_a_line;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a text that an error quotes.
const SHOWN_BYTES_MAX: usize = 300;

/// An address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
}

/// A node, and the credentials for its door.
#[derive(Debug, Clone)]
pub enum Target {
    /// A socket, opened by its permissions.
    Unix(PathBuf),
    /// An address of this machine, opened by the node's secret.
    Tcp(SocketAddr, Secret),
    /// An address on any machine (`HOST:PORT`), opened by a certificate and the secret.
    Tls(String, Secret, Arc<Tls>),
}

impl NodeAddress {
    /// Reads `unix:PATH` or `HOST:PORT`. `invalid_argument` when it is neither.
    pub fn parse(text: &str) -> Result<NodeAddress, AdminError> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(NodeAddress::Unix(PathBuf::from(path)));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(NodeAddress::Tcp(text.to_owned()))
            }
            _ => Err(AdminError::new(
                Category::InvalidArgument,
                format!("`{}` is not the address of a node", on_a_line(text, SHOWN_BYTES_MAX)),
            )
            .next("unix:PATH or HOST:PORT, for example 127.0.0.1:7421")),
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            NodeAddress::Tcp(address) => f.write_str(address),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tcp(address, _) => write!(f, "{address}"),
            Target::Tls(address, _, _) => f.write_str(address),
        }
    }
}

/// Resolves the text to an address on this machine. `invalid_argument` for an address of another machine.
pub async fn loopback(text: &str) -> Result<SocketAddr, AdminError> {
    let found = tokio::net::lookup_host(text).await.map_err(|error| {
        AdminError::new(Category::InvalidArgument, format!("cannot resolve `{text}`: {error}"))
            .next("HOST:PORT, for example 127.0.0.1:7421")
    })?;
    let mut found: Vec<SocketAddr> = found.collect();
    // IPv4 first: `localhost` means what a listener on 127.0.0.1 means.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.into_iter().find(|address| address.ip().is_loopback()).ok_or_else(|| {
        AdminError::new(
            Category::InvalidArgument,
            format!("`{text}` is not an address of this machine; admin over TCP is for loopback addresses only"),
        )
        .next("a node on another machine is reached at its cluster_listen with --tls-ca, --tls-cert and --tls-key; or forward its port over ssh")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_and_other_machines_refused() {
        assert_eq!(NodeAddress::parse("unix:/run/x"), Ok(NodeAddress::Unix("/run/x".into())));
        let long = NodeAddress::parse(&"x".repeat(5_000)).expect_err("no address");
        assert!(long.message.len() < 2 * SHOWN_BYTES_MAX, "{}", long.message.len());
        assert_eq!(NodeAddress::parse("localhost:7421"), Ok(NodeAddress::Tcp("localhost:7421".to_owned())));
        for bad in ["", "unix:", "localhost", ":1", "host:port", "host:70000"] {
            assert_eq!(NodeAddress::parse(bad).expect_err(bad).category, Category::InvalidArgument);
        }
        assert!(loopback("127.0.0.1:0").await.is_ok());
        assert_eq!(loopback("0.0.0.0:1").await.expect_err("all addresses").category, Category::InvalidArgument);
        assert_eq!(loopback("192.0.2.1:1").await.expect_err("elsewhere").category, Category::InvalidArgument);
    }
}
