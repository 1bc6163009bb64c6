//! Server-Sent Events: how a message is written, and when a stream ends.

use super::call::Call;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// Pause after which a client reconnects, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// Pause between two comments that keep a quiet connection open.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Time in which a consumer has to take something.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Longest life of a stream.
const LIFE: Duration = Duration::from_secs(3_600);
/// Pause between two checks of the token.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// The consumer has gone, or takes nothing.
pub struct Gone;

/// The node's end of a stream.
pub struct Outlet {
    sender: mpsc::Sender<Bytes>,
    begun: Instant,
    checked: Instant,
    commented: Instant,
}

impl Outlet {
    /// Opens a stream. One message is in memory until the consumer takes it.
    pub fn open() -> (Outlet, Response<Body>) {
        let (sender, receiver) = mpsc::channel(1);
        let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let now = Instant::now();
        (Outlet { sender, begun: now, checked: now, commented: now }, response)
    }

    /// Tells the consumer when to reconnect.
    pub async fn retry(&self) -> Result<(), Gone> {
        self.send(format!("retry: {RETRY_MS}\n\n")).await
    }

    /// Sends a message.
    pub async fn message(&self, event: &str, id: Option<&str>, data: &str) -> Result<(), Gone> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        // A canonical payload has no line break. One that was put into the database by hand may have: a consumer joins
        // the lines again.
        let data = data.replace("\r\n", "\n").replace(['\n', '\r'], "\ndata: ");
        self.send(format!("event: {event}\n{id}data: {data}\n\n")).await
    }

    /// Waits until the consumer has gone.
    pub async fn gone(&self) {
        self.sender.closed().await;
    }

    /// Waits for so long, while the consumer is there.
    pub async fn pause(&self, wait: Duration) -> Result<(), Gone> {
        match tokio::time::timeout(wait, self.gone()).await {
            Ok(()) => Err(Gone),
            Err(_) => Ok(()),
        }
    }

    /// Keeps a quiet connection open.
    pub async fn comment(&mut self) -> Result<(), Gone> {
        if self.commented.elapsed() < COMMENT_EVERY {
            return Ok(());
        }
        self.commented = Instant::now();
        self.send(":\n\n".to_owned()).await
    }

    /// Returns the reason why the stream ends now, if it does.
    pub fn over(&mut self, call: &Call) -> Option<&'static str> {
        if self.begun.elapsed() > LIFE {
            return Some("this stream is old; resume with last-event-id");
        }
        if call.api.surroundings.is_draining() {
            return Some("this node is stopping; resume at another");
        }
        if self.checked.elapsed() > CHECK_EVERY {
            self.checked = Instant::now();
            if call.caller.as_ref().is_some_and(|caller| !call.api.identities.still_holds(caller)) {
                return Some("the token does not hold any more");
            }
        }
        None
    }

    /// Tells the consumer why the stream ends.
    pub async fn bye(&self, reason: &str) {
        let _ = self.message("bye", None, &serde_json::json!({ "reason": reason }).to_string()).await;
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.sender.send_timeout(Bytes::from(text), TAKEN_WITHIN).await.map_err(|_| Gone)
    }
}
