//! Spans of agents in: OTLP/HTTP.
//!
//! *Guarantees.* The answer comes after the commit. Offering the request again stores nothing twice. A span that is not
//! stored is counted in the answer, in a metric and in the log.

use super::append::{offer, offered};
use super::call::{Call, at};
use super::fault::{Answered, Fault};
use crate::otlp::{Form, Left, Made, Tally, decode, exported, failed, map};
use axum::body::Body;
use axum::http::Response;
use decisiongraph_engine::telemetry::signals::{FORBIDDEN, OTLP_SPANS};
use decisiongraph_protocol::OfferedLine;
use decisiongraph_protocol::lines::{CHUNK_BYTES_MAX, CHUNK_LINES_MAX};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::time::Instant;

/// `POST /v1/traces`.
pub fn take(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let form = Form::of(&call.headers);
        let mapped = map(&decode(form, &call.body).map_err(Fault::invalid)?);
        call.api.limits.admit_events(call.caller()?, call.tenant.as_ref(), mapped.events.len())?;
        let mut tally = Tally::new(mapped.spans);
        mapped.left.into_iter().for_each(|left| tally.leave(left));
        let mut chunk: Vec<Made> = Vec::new();
        let mut bytes = 0;
        for made in mapped.events {
            if !call.caller()?.speaks_for(&made.producer) {
                let message = "this identity may not append events of that `service.name`".to_owned();
                tally.leave(Left { span: made.span, reason: FORBIDDEN, message });
                continue;
            }
            bytes += made.line.len();
            chunk.push(made);
            if chunk.len() == CHUNK_LINES_MAX || bytes >= CHUNK_BYTES_MAX {
                store(&call, std::mem::take(&mut chunk), &mut tally).await?;
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            store(&call, chunk, &mut tally).await?;
        }
        for (outcome, count) in tally.outcomes() {
            call.api.telemetry.add(&OTLP_SPANS, count, &[outcome]);
        }
        if let Some(told) = tally.told()
            && let Some(left_out) = call.api.unmapped.note(Instant::now())
        {
            let (rejected, spans) = (tally.rejected(), tally.spans());
            tracing::info!(left_out, "{} of {} spans that came by OTLP are not stored: {}", rejected, spans, told);
        }
        let response = exported(form, tally.rejected(), tally.message());
        Ok(match tally.last_log_seq() {
            Some(position) => at(response, position),
            None => response,
        })
    }
    .boxed()
}

/// Offers events in their order, and counts the verdicts.
async fn store(call: &Call, events: Vec<Made>, tally: &mut Tally) -> Result<(), Fault> {
    let mut spans = Vec::with_capacity(events.len());
    let mut lines = Vec::with_capacity(events.len());
    for (made, number) in events.into_iter().zip(1..) {
        spans.push((made.span, made.place));
        lines.push(OfferedLine { number, text: Ok(made.line) });
    }
    let reply = offer(call, offered(lines, false)).await?;
    for verdict in &reply.verdicts {
        let index = usize::try_from(verdict.line).ok().and_then(|line| line.checked_sub(1));
        if let Some((span, place)) = index.and_then(|index| spans.get(index)) {
            tally.take(*span, *place, verdict);
        }
    }
    Ok(())
}

/// Writes an error in the terms of OTLP, with the headers that it has on every other route.
pub fn refused(form: Form, fault: &Fault, request_id: &str) -> Response<Body> {
    let message = format!("{}: {}; {}", fault.code, fault.message, fault.next);
    failed(form, message, fault.retryable, fault.response(request_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn an_error_that_passes_has_a_status_that_exporters_repeat() {
        for fault in Fault::every() {
            let status = refused(Form::Protobuf, &fault, "id").status();
            match fault.retryable {
                true => assert!([429, 502, 503, 504].contains(&status.as_u16()), "{}", fault.code),
                false => assert_eq!(status, fault.status, "{}", fault.code),
            }
        }
        let refusal = refused(Form::Json, &Fault::rate(7), "id");
        assert_eq!((refusal.status().as_u16(), refusal.headers()["retry-after"].as_bytes()), (429, &b"7"[..]));
        let text = refusal.into_body().collect().await.expect("a body").to_bytes();
        assert!(text.starts_with(br#"{"message":"rate_limited: "#), "{text:?}");
    }
}
