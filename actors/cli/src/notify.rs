//! Tells a service manager how the node fares (sd_notify): one datagram a state, to the socket that `NOTIFY_SOCKET` names.
//!
//! *Guarantees.* Without the variable nothing is sent. What cannot be sent is lost: a service manager that is away changes nothing.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The node runs and can be asked.
pub const READY: &str = "READY=1";
/// The node drains.
pub const STOPPING: &str = "STOPPING=1";
/// The node is alive.
pub const WATCHDOG: &str = "WATCHDOG=1";

/// Sends this state.
pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    if let (Ok(address), Ok(datagram)) = (address, UnixDatagram::unbound()) {
        let _ = datagram.set_nonblocking(true);
        let _ = datagram.send_to_addr(state.as_bytes(), &address);
    }
}

/// How often the service manager wants to hear [`WATCHDOG`]: half of its own patience.
pub fn watchdog_every() -> Option<Duration> {
    let patience_us: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (patience_us > 1).then(|| Duration::from_micros(patience_us / 2))
}
