//! Events out: pages of a log up to the safe mark.

use super::call::{Call, at};
use super::cursor;
use super::fault::{Answered, Fault};
use super::objects::events_json;
use axum::http::StatusCode;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::{EventsReply, EventsRequest};
use decisiongraph_store::EventFilter;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Choice of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    event_id: Option<String>,
    filter: EventFilter,
}

impl Filter {
    /// Reads the filter in the query.
    pub fn of(call: &Call) -> Result<Filter, Fault> {
        let text = |key: &str| Ok::<_, Fault>(call.query.one(key)?.map(str::to_owned));
        let filter = EventFilter {
            trace_id: text("trace_id")?,
            event_types: call.query.list("event_type").unwrap_or_default(),
            actor_type: text("actor_type")?,
            actor_id: text("actor_id")?,
        };
        Ok(Filter { event_id: text("event_id")?, filter })
    }
}

/// Reads a page of the log up to the mark.
pub async fn page(
    call: &Call,
    filter: &Filter,
    since_log_seq: LogSeq,
    until_log_seq: Option<LogSeq>,
    limit: i64,
) -> Result<EventsReply, Fault> {
    let Filter { event_id, filter } = filter.clone();
    let tenant = call.tenant.clone();
    call.ask(EventsRequest { tenant, since_log_seq, until_log_seq, limit, event_id, filter }).await
}

/// `GET /events`.
pub fn list(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let tenant = call.tenant()?;
        let filter = Filter::of(&call)?;
        let since = call.query.position("since_log_seq")?.unwrap_or(LogSeq::ORIGIN);
        let until = call.query.position("until_log_seq")?;
        let limit = call.query.number("limit")?.unwrap_or(100);
        let after = match cursor::read(&tenant, call.word, &call.query)? {
            None => since,
            Some(place) => LogSeq(place.parse().map_err(|_| Fault::invalid("the cursor is faulty"))?),
        };
        let wait = Duration::from_millis(call.query.wait_ms(0)?);
        let mut reply = page(&call, &filter, after, until, limit).await?;
        if reply.events.is_empty() && !wait.is_zero() {
            let end = tokio::time::Instant::now() + wait;
            let mut reached = reply.scanned_to;
            while reply.events.is_empty()
                && tokio::time::timeout_at(end, call.api.surroundings.mark_behind(reached)).await.is_ok()
            {
                reply = page(&call, &filter, reached, until, limit).await?;
                reached = reached.max(reply.scanned_to);
            }
        }
        let last = reply.scanned_to;
        // A page may end before the mark, at its limit or at the number of events that one page looks at.
        let next = (reply.more || last < until.unwrap_or(reply.mark).min(reply.mark))
            .then(|| cursor::write(&last.to_string(), &tenant, call.word, &call.query));
        let next = serde_json::to_string(&next).unwrap_or_default();
        let data = format!(
            "{{\"events\":{},\"next_cursor\":{next},\"mark\":{}}}",
            events_json(&tenant, &reply.events),
            reply.mark
        );
        Ok(at(call.raw(StatusCode::OK, &data)?, reply.mark))
    }
    .boxed()
}
