//! A body of an answer, with the shares of memory that it holds until it is sent.

use axum::body::{Body, Bytes, HttpBody};
use decisiongraph_engine::Share;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that gives its shares back when it was sent, or dropped.
pub struct Held {
    /// The body itself.
    pub body: Body,
    /// Shares that are held for it.
    pub _shares: Vec<Share>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
