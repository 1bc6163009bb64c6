//! Streams of events, as Server-Sent Events.
//!
//! *Guarantees.* A stream has every event of the tenant that its filter lets through, in the order of the log, up to
//! the safe mark and never behind it. A consumer that resumes after another history, or above the end of the log, is
//! told with 409. One page is in memory per stream; a consumer that takes nothing is closed.

use super::call::Call;
use super::events::{self, Filter};
use super::fault::{Answered, Fault};
use super::objects::{event_json, with_tenant};
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::EventsReply;
use decisiongraph_protocol::query::EventRecord;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// Events per page.
const PAGE_EVENTS: i64 = 500;
/// Pause after which a client reconnects, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// Pause between two comments that keep a quiet connection open.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Shortest pause between two messages about the mark.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// Time in which a consumer has to take something.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Longest life of a stream.
const LIFE: Duration = Duration::from_secs(3_600);
/// Pause between two checks of the token.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Hexadecimal digits of a payload's hash in an id.
const HASH_DIGITS: usize = 8;

/// `GET /events/stream`.
pub fn stream(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let place = call.api.limits.stream(call.caller()?)?;
        let filter = Filter::of(&call)?;
        let after = match resumed(&call).await? {
            Some(after) => after,
            None => match call.query.position("since_log_seq")? {
                Some(since) => since,
                None => call.api.surroundings.mark(),
            },
        };
        // The first page is read before the answer begins: a fault of it has a status.
        let first = events::page(&call, &filter, after, None, PAGE_EVENTS).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let _place = place;
            let mut feed = Feed { sender, tenant: call.tenant.clone().unwrap_or_default(), after, told: None };
            let reason = feed.run(&call, &filter, first).await;
            if let Some(reason) = reason {
                let _ = feed.message("bye", None, &json!({ "reason": reason }).to_string()).await;
            }
        });
        let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
    .boxed()
}

/// Finds the position behind which a consumer resumes. `conflict` when the log has another event there, or ends before.
async fn resumed(call: &Call) -> Result<Option<LogSeq>, Fault> {
    let Some(id) = call.headers.get("last-event-id") else { return Ok(None) };
    let unreadable = || Fault::invalid("the header last-event-id is not an id of this stream");
    let id = id.to_str().map_err(|_| unreadable())?;
    let (position, hash) = match id.split_once('.') {
        Some((position, hash)) => (position, Some(hash)),
        None => (id, None),
    };
    let position = LogSeq(position.parse().map_err(|_| unreadable())?);
    if position <= LogSeq::ORIGIN {
        return Ok(Some(LogSeq::ORIGIN));
    }
    let other = || {
        Fault::category(Category::Conflict, "the log has another history than the one that this consumer read")
            .next("read the log from the beginning, or from a position that you can compare: since_log_seq=0")
    };
    let found = events::page(call, &Filter::default(), LogSeq(position.0 - 1), Some(position), 1).await?;
    if found.mark < position {
        return Err(other());
    }
    match hash {
        Some(hash) if found.events.first().is_none_or(|event| short_hash(event) != hash) => Err(other()),
        _ => Ok(Some(position)),
    }
}

/// Returns the first digits of the payload's hash.
fn short_hash(event: &EventRecord) -> &str {
    let digits = event.payload_hash.rsplit(':').next().unwrap_or_default();
    &digits[..HASH_DIGITS.min(digits.len())]
}

/// A stream that is being fed.
struct Feed {
    sender: mpsc::Sender<Bytes>,
    tenant: TenantId,
    /// Position up to which the consumer was told.
    after: LogSeq,
    /// Time of the last message about the mark.
    told: Option<Instant>,
}

/// The consumer has gone, or takes nothing.
struct Gone;

impl Feed {
    /// Feeds the consumer. Returns the reason of the end, when there is somebody to tell.
    async fn run(&mut self, call: &Call, filter: &Filter, first: EventsReply) -> Option<&'static str> {
        if self.send(format!("retry: {RETRY_MS}\n\n")).await.is_err() {
            return None;
        }
        let (begun, mut checked) = (Instant::now(), Instant::now());
        let mut page = Some(first);
        loop {
            let read = match page.take() {
                Some(page) => page,
                None => match events::page(call, filter, self.after, None, PAGE_EVENTS).await {
                    Ok(page) => page,
                    Err(_) => return Some("the node cannot read the log now; resume with last-event-id"),
                },
            };
            if self.page(&read).await.is_err() {
                return None;
            }
            let more = read.more || read.scanned_to < read.mark;
            drop(read);
            if begun.elapsed() > LIFE {
                return Some("this stream is old; resume with last-event-id");
            }
            if call.api.surroundings.is_draining() {
                return Some("this node is stopping; resume at another");
            }
            if checked.elapsed() > CHECK_EVERY {
                checked = Instant::now();
                if call.caller.as_ref().is_some_and(|caller| !call.api.identities.still_holds(caller)) {
                    return Some("the token does not hold any more");
                }
            }
            if more {
                continue;
            }
            let moved = call.api.surroundings.mark_behind(self.after);
            match tokio::time::timeout(COMMENT_EVERY, moved).await {
                Ok(()) => {}
                Err(_) if self.send(":\n\n".to_owned()).await.is_err() => return None,
                Err(_) => {}
            }
        }
    }

    /// Sends a page, and the mark when it moved without an event for this consumer.
    async fn page(&mut self, page: &EventsReply) -> Result<(), Gone> {
        for event in &page.events {
            let id = format!("{}.{}", event.log_seq, short_hash(event));
            let text = with_tenant(&self.tenant, &event_json(event));
            self.message("event", Some(&id), &text).await?;
        }
        let reached = page.scanned_to;
        let silent = page.events.is_empty() && reached > self.after;
        self.after = self.after.max(reached);
        if silent && self.told.is_none_or(|told| told.elapsed() >= MARK_EVERY) {
            self.told = Some(Instant::now());
            let data = json!({ "log_seq": reached, "last_log_seq": page.mark }).to_string();
            self.message("mark", Some(&reached.to_string()), &data).await?;
        }
        Ok(())
    }

    async fn message(&self, event: &str, id: Option<&str>, data: &str) -> Result<(), Gone> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        // The text of an event has no line break: a payload is canonical, and JSON escapes the rest.
        self.send(format!("event: {event}\n{id}data: {data}\n\n")).await
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.sender.send_timeout(Bytes::from(text), TAKEN_WITHIN).await.map_err(|_| Gone)
    }
}
