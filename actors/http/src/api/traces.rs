//! Traces: one with its events, and lists of them.

use super::call::{Call, at, object};
use super::cursor;
use super::fault::{Answered, Fault};
use super::graph::with_staleness;
use super::objects::events_json;
use super::validator::{unchanged, validated};
use axum::http::StatusCode;
use decisiongraph_engine::queries::{EVENTS_PAGE_MAX, READ_BYTES_MAX};
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::{
    ReadReply, TraceFilter, TraceOrder, TraceQuery, TraceReply, TraceRequest, TraceStatus, TracesPage, TracesRequest,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

/// Events of a trace that come without a limit, at most.
const TRACE_EVENTS_MAX: usize = 100_000;
/// Bytes of a trace that comes without a limit, at most.
const TRACE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Traces of a page without a limit.
const TRACES: i64 = 50;

/// Reads the place in the query's cursor.
fn place(call: &Call) -> Result<Option<LogSeq>, Fault> {
    match cursor::read(&call.tenant()?, call.word, &call.query)? {
        None => Ok(None),
        Some(place) => {
            place.parse().map(|place| Some(LogSeq(place))).map_err(|_| Fault::invalid("the cursor is faulty"))
        }
    }
}

/// `GET /traces`.
pub fn list(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let tenant = call.tenant()?;
        let text = |key: &str| Ok::<_, Fault>(call.query.one(key)?.map(str::to_owned));
        let status = match call.query.one("status")? {
            None => None,
            Some("open") => Some(TraceStatus::Open),
            Some("finished") => Some(TraceStatus::Finished),
            Some(_) => return Err(Fault::invalid("`status` must be open or finished")),
        };
        let order = match call.query.one("order")? {
            None | Some("started") => TraceOrder::Started,
            Some("finished") => TraceOrder::Finished,
            Some(_) => return Err(Fault::invalid("`order` must be started or finished")),
        };
        let filter = TraceFilter {
            status,
            workflow: text("workflow")?,
            outcome: text("outcome")?,
            entity_type: text("entity_type")?,
            entity_id: text("entity_id")?,
            involves: text("involves")?,
            actor_type: text("actor_type")?,
            actor_id: text("actor_id")?,
            event_types: call.query.list("event_type").unwrap_or_default(),
            tag: text("tag")?,
            occurred_since: text("occurred_since")?,
            occurred_until: text("occurred_until")?,
            title_prefix: text("title_prefix")?,
            trace_id_prefix: text("trace_id_prefix")?,
        };
        let limit = call.query.number("limit")?.unwrap_or(TRACES);
        let query = TraceQuery { order, before: place(&call)?, limit, filter };
        let request = TracesRequest { tenant: Some(tenant.clone()), freshness: call.query.freshness()?, query };
        let ReadReply { stale, answer, .. } = call.ask(request).await?;
        let TracesPage { traces, next, upto } = answer;
        let next = next.map(|next| cursor::write(&next.to_string(), &tenant, call.word, &call.query));
        let data = json!({ "traces": traces, "next_cursor": next });
        Ok(at(call.data(with_staleness(data, stale.as_ref()))?, upto))
    }
    .boxed()
}

/// `GET /traces/{id}`.
pub fn one(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let tenant = call.tenant()?;
        let after = place(&call)?.unwrap_or(LogSeq::ORIGIN);
        if let Some(unchanged) = unchanged(&call, &["trace_summary"]).await? {
            return unchanged;
        }
        let since = call.query.number::<i64>("since_trace_seq")?;
        let limit = call.query.number::<i64>("limit")?;
        let request = |after, limit| {
            Ok::<_, Fault>(TraceRequest {
                tenant: Some(tenant.clone()),
                trace_id: call.part("id").to_owned(),
                after,
                limit,
                freshness: call.query.freshness()?,
            })
        };
        let mut reply: TraceReply = call.ask(request(after, limit.unwrap_or(EVENTS_PAGE_MAX as i64))?).await?;
        let mut bytes = READ_BYTES_MAX;
        while limit.is_none() && reply.more {
            let Some(last) = reply.events.last().map(|event| event.log_seq) else { break };
            if reply.events.len() >= TRACE_EVENTS_MAX || bytes > TRACE_BYTES_MAX {
                return Err(Fault::invalid("the trace is too long to come at once").next("page it: limit=1000"));
            }
            let next: TraceReply = call.ask(request(last, EVENTS_PAGE_MAX as i64)?).await?;
            bytes += READ_BYTES_MAX;
            reply.more = next.more;
            reply.events.extend(next.events);
        }
        let next = reply.events.last().filter(|_| reply.more).map(|last| last.log_seq.to_string());
        let next = next.map(|place| cursor::write(&place, &tenant, call.word, &call.query));
        if let Some(since) = since {
            reply.events.retain(|event| event.trace_seq > since);
        }
        let members =
            object(with_staleness(json!({ "summary": reply.summary, "next_cursor": next }), reply.stale.as_ref()));
        let members = serde_json::to_string(&members).unwrap_or_default();
        let data = format!(
            "{{\"events\":{},{}",
            events_json(&tenant, &reply.events),
            members.strip_prefix('{').unwrap_or_default()
        );
        let response = validated(call.raw(StatusCode::OK, &data)?, &reply.rows);
        Ok(match reply.events.last() {
            Some(last) => at(response, last.log_seq),
            None => response,
        })
    }
    .boxed()
}
