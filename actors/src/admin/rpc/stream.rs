//! A connection that is past the preamble, as the actor protocol takes it.

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// A connection, and something that is given back when it ends.
pub struct Carried {
    reader: BoxRead,
    writer: BoxWrite,
    label: String,
}

impl Carried {
    /// These two halves; `held` is dropped with the reading one.
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
