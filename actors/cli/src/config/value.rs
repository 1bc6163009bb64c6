//! Turns the text or the TOML value of a key into a value in range. Pure.
//!
//! *Guarantees.* A message never quotes a value that may hold a secret; `Display` of a value shows no secret.

use super::keys::{Key, Kind, PEERS_BYTES_MAX, PEERS_MAX, TEXT_BYTES_MAX};
use super::seal::NamedPlace;
use decisiongraph_rpc::is_name;
use decisiongraph_store::DatabaseUrl;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

/// Word that switches a feature off.
pub const OFF: &str = "off";

/// A value that its key accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value, or switched off.
    Nothing,
    /// A number in the key's unit.
    Whole(u64),
    /// Text, a word, a filter or an endpoint.
    Text(String),
    /// A file or directory.
    Path(PathBuf),
    /// An address to listen on.
    Address(SocketAddr),
    /// Addresses that nodes dial, `HOST:PORT`.
    Peers(Vec<String>),
    /// A database, perhaps with its password.
    Database(DatabaseUrl),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nothing => f.write_str(OFF),
            Value::Whole(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
            Value::Path(path) => write!(f, "{}", path.display()),
            Value::Address(address) => write!(f, "{address}"),
            Value::Peers(peers) => f.write_str(&peers.join(",")),
            Value::Database(url) => write!(f, "{url}"),
        }
    }
}

/// Longest part of a wrong value that a message quotes, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// Reads the text of a variable, a flag or a TOML string. The error describes the accepted values.
pub fn of_text(key: &Key, text: &str) -> Result<Value, String> {
    let wrong = || Err(refusal(key, &quoted(text)));
    match key.kind {
        Kind::Database | Kind::Endpoint => {}
        _ if is_login(text) => return wrong(),
        _ => {}
    }
    match key.kind {
        Kind::Whole { least, most, .. } => match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Value::Whole(number)),
            _ => wrong(),
        },
        Kind::Text if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) => wrong(),
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Directory | Kind::File if text.is_empty() => wrong(),
        Kind::Directory => Ok(Value::Path(PathBuf::from(text))),
        Kind::File => readable(key, PathBuf::from(text)),
        Kind::Listen { .. } | Kind::Endpoint if text == OFF => Ok(Value::Nothing),
        Kind::Listen { loopback_only } => match address(text) {
            Some(address) if !loopback_only || address.ip().is_loopback() => Ok(Value::Address(address)),
            _ => wrong(),
        },
        Kind::Peer if is_peer(text) => Ok(Value::Text(text.to_owned())),
        Kind::Peer => wrong(),
        Kind::Peers => {
            let peers: Vec<String> = text.split(',').map(|peer| peer.trim().to_owned()).collect();
            let sound = peers.len() <= PEERS_MAX && text.len() <= PEERS_BYTES_MAX;
            if sound && peers.iter().all(|peer| is_peer(peer)) { Ok(Value::Peers(peers)) } else { wrong() }
        }
        Kind::Places => {
            let sound = text.len() <= PEERS_BYTES_MAX && !text.contains(char::is_control);
            let named = text.split(',').all(|place| NamedPlace::parse(place.trim()).is_some());
            if sound && named { Ok(Value::Text(text.to_owned())) } else { wrong() }
        }
        Kind::CertificateName if is_name(text) => Ok(Value::Text(text.to_owned())),
        Kind::CertificateName => wrong(),
        Kind::Database => match DatabaseUrl::parse(text) {
            Ok(url) => Ok(Value::Database(url)),
            Err(error) => Err(format!("{}: {}", key.name, error.message)),
        },
        Kind::Endpoint => match endpoint(text) {
            Some(endpoint) => Ok(Value::Text(endpoint)),
            // The text may hold a login: it is not quoted.
            None => Err(format!("{} must be http://HOST:PORT without TLS, login and query, or `{OFF}`", key.name)),
        },
        Kind::Filter => match EnvFilter::try_new(text) {
            Ok(_) => Ok(Value::Text(text.to_owned())),
            Err(error) => Err(format!("{} must be a filter of `tracing`: {error}", key.name)),
        },
        Kind::OneOf(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::OneOf(_) => wrong(),
    }
}

/// Reads a value of the file. Its TOML type counts.
pub fn of_toml(key: &Key, value: &DeValue<'_>) -> Result<Value, String> {
    match (key.kind, value) {
        (Kind::Whole { .. }, DeValue::Integer(integer)) => {
            match u64::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix()) {
                Ok(number) => of_text(key, &number.to_string()),
                Err(_) => Err(refusal(key, &format!("{integer}"))),
            }
        }
        (Kind::Whole { .. }, other) | (_, other @ DeValue::Integer(_)) => Err(wrong_type(key, other)),
        (_, DeValue::String(text)) => of_text(key, text),
        (_, other) => Err(wrong_type(key, other)),
    }
}

fn wrong_type(key: &Key, value: &DeValue<'_>) -> String {
    refusal(key, &format!("of type {}", value.type_str()))
}

fn refusal(key: &Key, what: &str) -> String {
    let number = if matches!(key.kind, Kind::Whole { .. }) { "a whole number, " } else { "" };
    format!("{} must be {number}{}, not {what}", key.name, key.takes())
}

fn readable(key: &Key, path: PathBuf) -> Result<Value, String> {
    let is_file = std::fs::File::open(&path).and_then(|file| file.metadata()).map(|facts| facts.is_file());
    match is_file {
        Ok(true) => Ok(Value::Path(path)),
        Ok(false) => Err(format!("{}: {} is not a file", key.name, path.display())),
        Err(error) => Err(format!("{}: cannot read {}: {error}", key.name, path.display())),
    }
}

/// True when the text looks like an address with a login in it.
fn is_login(text: &str) -> bool {
    text.contains("://") && text.contains('@')
}

/// Quotes the beginning of a wrong value. A database address under the wrong key may hold a password: a text that looks
/// like one is not repeated.
fn quoted(text: &str) -> String {
    if is_login(text) {
        return "a database address (not shown: it may hold a password)".to_owned();
    }
    format!("`{}`", text.chars().take(QUOTED_CHARS_MAX).collect::<String>())
}

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

/// True for a host and a port that can be dialled. The host is a name, an IPv4 address, or an IPv6 address in brackets.
fn is_peer(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host_is_sound = match inner.parse::<IpAddr>() {
        Ok(address) => !address.is_unspecified() && address.is_ipv6() == (inner.len() != host.len()),
        Err(_) => inner.len() == host.len() && is_name(host),
    };
    host_is_sound && text.len() <= TEXT_BYTES_MAX && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn endpoint(text: &str) -> Option<String> {
    let uri: hyper::Uri = text.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let plain = uri.scheme_str() == Some("http") && !authority.contains('@') && uri.query().is_none();
    plain.then(|| text.trim_end_matches('/').to_owned())
}
