//! A connection that is past the preamble, in the form that the actor protocol takes.

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// Silence before the other side's machine is probed.
const PROBE_AFTER: Duration = Duration::from_secs(15);
/// Pause between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer that end the connection.
const PROBES_MAX: u32 = 3;
/// Time within which sent data must be acknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Has the kernel notice a machine that is gone, so that its connection does not stay. Also lets small frames leave at
/// once. A system without this is no fault: heartbeats notice such a machine, too.
pub fn keep_alive(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES_MAX);
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&probes);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}

/// A connection, and a value that is given back when it ends.
pub struct Carried {
    reader: BoxRead,
    writer: BoxWrite,
    label: String,
}

impl Carried {
    /// Joins these two halves; `held` is dropped with the reading half.
    pub fn new<H: Send + Unpin + 'static>(reader: BoxRead, writer: BoxWrite, label: String, held: H) -> Carried {
        Carried { reader: Box::new(Held { reader, _held: held }), writer, label }
    }
}

impl ClusterBidiStream for Carried {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (self.reader, self.writer)
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

struct Held<H> {
    reader: BoxRead,
    _held: H,
}

impl<H: Unpin> AsyncRead for Held<H> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}
