//! Reports the state of the node to a service manager (sd_notify). It sends one datagram per state to the socket that
//! `NOTIFY_SOCKET` names.
//!
//! *Guarantees.* Without the variable nothing is sent. A datagram that cannot be sent is lost: the absence of a service
//! manager changes nothing.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The node runs and answers requests.
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

/// Returns the interval at which the service manager expects [`WATCHDOG`]: half of its own patience.
pub fn watchdog_every() -> Option<Duration> {
    let patience_us: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (patience_us > 1).then(|| Duration::from_micros(patience_us / 2))
}
