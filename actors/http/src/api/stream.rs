//! Streams of events, as Server-Sent Events.
//!
//! *Guarantees.* A stream has every event of the tenant that its filter lets through, in the order of the log, up to
//! the safe mark and never behind it. A consumer that resumes after another history, or above the end of the log, is
//! told with 409. One page is in memory per stream; a consumer that takes nothing is closed.

use super::call::Call;
use super::events::{self, Filter};
use super::fault::{Answered, Fault};
use super::objects::{event_json, with_tenant};
use super::sse::{Gone, Outlet};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::EventsReply;
use decisiongraph_protocol::query::EventRecord;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::time::{Duration, Instant};

/// Events per page.
const PAGE_EVENTS: i64 = 500;
/// Pause between two looks at the node and the stream's age while nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Shortest pause between two messages about the mark.
const MARK_EVERY: Duration = Duration::from_secs(1);
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
        // Not for the life of the stream: the page is small, and sent at once.
        call.let_go();
        let (outlet, response) = Outlet::open();
        tokio::spawn(async move {
            let _place = place;
            let mut feed = Feed { outlet, tenant: call.tenant.clone().unwrap_or_default(), after, told: None };
            if let Some(reason) = feed.run(&call, &filter, first).await {
                feed.outlet.bye(reason).await;
            }
        });
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
    digits.get(..HASH_DIGITS).unwrap_or(digits)
}

/// A stream that is being fed.
struct Feed {
    outlet: Outlet,
    tenant: TenantId,
    /// Position up to which the consumer was told.
    after: LogSeq,
    /// Time of the last message about the mark.
    told: Option<Instant>,
}

impl Feed {
    /// Feeds the consumer. Returns the reason of the end, when there is somebody to tell.
    async fn run(&mut self, call: &Call, filter: &Filter, first: EventsReply) -> Option<&'static str> {
        if self.outlet.retry().await.is_err() {
            return None;
        }
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
            call.let_go();
            if let Some(reason) = self.outlet.over(call) {
                return Some(reason);
            }
            if more {
                continue;
            }
            let moved = call.api.surroundings.mark_behind(self.after);
            let waited = tokio::select! {
                () = self.outlet.gone() => return None,
                waited = tokio::time::timeout(LOOK_EVERY, moved) => waited,
            };
            if self.outlet.comment().await.is_err() {
                return None;
            }
            if waited.is_err() {
                page = Some(self.nothing());
            }
        }
    }

    /// Returns a page for a moment in which nothing happened.
    fn nothing(&self) -> EventsReply {
        let (tenant, at) = (self.tenant.clone(), self.after);
        EventsReply { tenant, events: Vec::new(), more: false, scanned_to: at, mark: at }
    }

    /// Sends a page, and the mark when it moved without an event for this consumer.
    async fn page(&mut self, page: &EventsReply) -> Result<(), Gone> {
        for event in &page.events {
            let id = format!("{}.{}", event.log_seq, short_hash(event));
            let text = with_tenant(&self.tenant, &event_json(event));
            self.outlet.message("event", Some(&id), &text).await?;
        }
        let reached = page.scanned_to;
        let silent = page.events.is_empty() && reached > self.after;
        self.after = self.after.max(reached);
        if silent && self.told.is_none_or(|told| told.elapsed() >= MARK_EVERY) {
            self.told = Some(Instant::now());
            let data = json!({ "log_seq": reached, "last_log_seq": page.mark }).to_string();
            self.outlet.message("mark", Some(&reached.to_string()), &data).await?;
        }
        Ok(())
    }
}
