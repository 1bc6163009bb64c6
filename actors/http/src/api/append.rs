//! Events in: one, or a batch with a verdict per line.
//!
//! *Guarantees.* The answer comes after the commit. A line's own `tenant_id` cannot lead to another tenant. An append
//! runs to its end when its client hangs up; offering it again stores nothing twice, because events have their keys.

use super::call::{Call, at, json_response, object};
use super::fault::{Answered, Fault};
use super::objects::{event_json, with_tenant};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use decisiongraph_projections::event::{EVENT_BYTES_MAX, Line};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::lines::{CHUNK_BYTES_MAX, CHUNK_LINES_MAX};
use decisiongraph_protocol::{AppendReply, AppendRequest, LineFault, LineVerdict, OfferedLine, Request, VerdictWord};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most lines of a batch.
const LINES_MAX: usize = 10_000;
/// Most lines of a batch that is stored as a whole or not at all.
const ATOMIC_LINES_MAX: usize = CHUNK_LINES_MAX;

/// Refuses an event of another tenant, and one of a producer for whom the caller does not speak.
fn admit(call: &Call, text: &str) -> Result<(), Fault> {
    let tenant = call.tenant()?;
    // Read as the append itself reads it, so that no text has one tenant here and another there. A text that cannot be
    // read is refused there, with what was expected.
    let Ok(line) = Line::parse(text) else { return Ok(()) };
    if line.tenant_id.is_some_and(|named| named != tenant) {
        return Err(Fault::invalid("`tenant_id` of the event is not the tenant of the request")
            .next("leave tenant_id out, or send the event to its tenant"));
    }
    if !call.caller()?.speaks_for(&line.draft.envelope.source.producer_id) {
        return Err(Fault::forbidden("this identity may not append events of that `source.producer_id`"));
    }
    Ok(())
}

/// Makes the request of lines with a verdict each.
pub fn offered(lines: Vec<OfferedLine>, all_or_nothing: bool) -> AppendRequest {
    AppendRequest { all_or_nothing, each_verdict: true, lines, ..AppendRequest::default() }
}

/// Appends lines to the tenant of the call. The work goes on when the client hangs up.
pub async fn offer(call: &Call, request: AppendRequest) -> Result<AppendReply, Fault> {
    let request = AppendRequest { tenant: call.tenant.clone(), ..request };
    let turn = call.api.limits.append_turn().await?;
    let (answers, asker, id) = (Arc::clone(&call.api.answers), call.asker()?, call.id);
    let room = call.room.clone();
    // Turn and memory are given back when the work ends, not when the client hangs up.
    let work = tokio::spawn(async move {
        let reply = answers.answer(id, asker, request.into()).await;
        drop((turn, room));
        reply
    });
    let unknown = || Fault::category(Category::OutcomeUnknown, "the events may be stored");
    let done = tokio::time::timeout(call.api.bounds.deadline, work).await.map_err(|_| unknown())?;
    let reply = done.map_err(|_| unknown())?.map_err(|error| call.shown(error))?;
    <AppendRequest as Request>::Reply::try_from(reply).map_err(|error| call.shown(error))
}

/// Makes the fault of a refused line.
fn refused(verdict: &LineVerdict) -> Fault {
    let message = verdict.message.clone().unwrap_or_default();
    let mut fault = Fault::category(verdict.category.unwrap_or(Category::Internal), message);
    fault.details = object(serde_json::to_value(&verdict.details).unwrap_or_default());
    fault
}

/// `POST /events`.
pub fn one(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let text = std::str::from_utf8(&call.body).map_err(|_| Fault::invalid("the body is not UTF-8"))?.to_owned();
        match serde_json::from_str::<Value>(&text) {
            Err(_) => return Err(Fault::invalid("the body is not valid JSON")),
            Ok(value) if !value.is_object() => return Err(Fault::invalid("the body must be a JSON object: an event")),
            Ok(_) => {}
        }
        admit(&call, &text)?;
        call.api.limits.admit_events(call.caller()?, call.tenant.as_ref(), 1)?;
        // One line in this protocol, however the client broke the text.
        let line = OfferedLine { number: 1, text: Ok(text) };
        let reply = offer(&call, AppendRequest { read_back: true, ..offered(vec![line], false) }).await?;
        let verdict = reply.verdicts.first().ok_or_else(|| Fault::category(Category::Internal, "no verdict"))?;
        let (VerdictWord::Accepted | VerdictWord::Repeated, Some(log_seq)) = (verdict.verdict, verdict.log_seq) else {
            return Err(refused(verdict));
        };
        let Some(event) = &verdict.event else {
            return Err(Fault::category(Category::OutcomeUnknown, "the event is stored and could not be read back"));
        };
        let stored = with_tenant(&call.tenant()?, &event_json(event));
        let data = format!(
            "{{\"event\":{stored},\"projection_sync_triggered\":true,\"verdict\":\"{}\"}}",
            verdict.verdict.as_str()
        );
        Ok(at(call.raw(StatusCode::CREATED, &data)?, log_seq))
    }
    .boxed()
}

/// `POST /events/batch`.
pub fn batch(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let atomic = match call.query.one("mode")?.unwrap_or("each") {
            "each" => false,
            "atomic" => true,
            _ => return Err(Fault::invalid("`mode` must be each or atomic")),
        };
        let quiet = call.query.switch("quiet")?;
        let lines = lines(&call.body);
        let most = if atomic { ATOMIC_LINES_MAX } else { LINES_MAX };
        if lines.len() > most {
            return Err(Fault::invalid(format!("the batch has {} lines; the limit is {most}", lines.len())));
        }
        let count = lines.len();
        call.api.limits.admit_events(call.caller()?, call.tenant.as_ref(), count)?;
        let mut out = Out { lines: Vec::with_capacity(count), summary: Summary::default(), quiet };
        let mut chunk = Vec::new();
        let mut chunk_bytes = 0;
        let mut foreign = Vec::new();
        for line in lines {
            match line.text.as_deref().ok().map(|text| admit(&call, text)) {
                Some(Err(fault)) if atomic => return Err(fault.detail("line", line.number)),
                Some(Err(fault)) => {
                    foreign.push((line.number, fault));
                    continue;
                }
                _ => {}
            }
            chunk_bytes += line.text.as_ref().map_or(0, String::len);
            chunk.push(line);
            if !atomic && (chunk.len() == CHUNK_LINES_MAX || chunk_bytes >= CHUNK_BYTES_MAX) {
                out.store(&call, std::mem::take(&mut chunk)).await?;
                chunk_bytes = 0;
            }
        }
        if atomic {
            out.store_whole(&call, chunk).await?;
        } else if !chunk.is_empty() {
            out.store(&call, chunk).await?;
        }
        for (number, fault) in foreign {
            out.refuse(number, None, &fault);
        }
        out.answer(&call, count as u64)
    }
    .boxed()
}

/// Splits a body into lines, numbered from 1; blank lines count and are left out.
fn lines(body: &[u8]) -> Vec<OfferedLine> {
    let numbered = body.split(|byte| *byte == b'\n').zip(1..);
    let kept = numbered.filter(|(line, _)| !line.trim_ascii().is_empty());
    kept.map(|(line, number)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = match std::str::from_utf8(line) {
            _ if line.len() > EVENT_BYTES_MAX => Err(LineFault::TooLong),
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(LineFault::NotUtf8 { byte: error.valid_up_to() as u64 + 1 }),
        };
        OfferedLine { number, text }
    })
    .collect()
}

#[derive(Default)]
struct Summary {
    accepted: u64,
    repeated: u64,
    refused: u64,
    last_log_seq: Option<LogSeq>,
}

/// Verdicts of a batch, as they are answered.
struct Out {
    lines: Vec<(u64, Value)>,
    summary: Summary,
    quiet: bool,
}

impl Out {
    /// Stores lines that each stand for themselves.
    async fn store(&mut self, call: &Call, lines: Vec<OfferedLine>) -> Result<(), Fault> {
        let reply = offer(call, offered(lines, false)).await.map_err(|fault| self.decided(fault))?;
        self.take(&reply);
        Ok(())
    }

    /// Stores all lines or none.
    async fn store_whole(&mut self, call: &Call, lines: Vec<OfferedLine>) -> Result<(), Fault> {
        let reply = offer(call, offered(lines, true)).await?;
        if let Some(verdict) = reply.verdicts.iter().find(|verdict| verdict.verdict == VerdictWord::Refused) {
            let fault = refused(verdict).detail("line", verdict.line);
            return Err(fault.detail("event_id", verdict.event_id.clone()));
        }
        self.take(&reply);
        Ok(())
    }

    fn take(&mut self, reply: &AppendReply) {
        for verdict in &reply.verdicts {
            match (verdict.verdict, verdict.log_seq) {
                (VerdictWord::Refused, _) | (_, None) => {
                    self.refuse(verdict.line, verdict.event_id.clone(), &refused(verdict));
                    continue;
                }
                (VerdictWord::Accepted, _) => self.summary.accepted += 1,
                (VerdictWord::Repeated, _) => self.summary.repeated += 1,
            }
            self.summary.last_log_seq = self.summary.last_log_seq.max(verdict.log_seq);
            if !self.quiet {
                let line = json!({
                    "line": verdict.line, "verdict": verdict.verdict.as_str(), "log_seq": verdict.log_seq,
                    "event_id": verdict.event_id, "trace_id": verdict.trace_id, "trace_seq": verdict.trace_seq,
                });
                self.lines.push((verdict.line, line));
            }
        }
    }

    fn refuse(&mut self, number: u64, event_id: Option<String>, fault: &Fault) {
        self.summary.refused += 1;
        let mut line = json!({ "line": number, "verdict": "refused", "code": fault.code, "message": fault.message });
        if let Some(event_id) = event_id {
            line["event_id"] = event_id.into();
        }
        if !fault.details.is_empty() {
            line["details"] = Value::Object(fault.details.clone());
        }
        self.lines.push((number, line));
    }

    /// Adds how far the batch came before this fault.
    fn decided(&self, fault: Fault) -> Fault {
        let Summary { accepted, repeated, refused, last_log_seq } = &self.summary;
        fault
            .detail("decided_lines", accepted + repeated + refused)
            .detail("last_log_seq", last_log_seq.map(|position| position.0))
            .next("offer the whole batch again: what is stored is not stored twice")
    }

    fn answer(mut self, call: &Call, lines: u64) -> Answered {
        self.lines.sort_by_key(|(number, _)| *number);
        let Summary { accepted, repeated, refused, last_log_seq } = self.summary;
        let summary = json!({
            "lines": lines, "accepted": accepted, "repeated": repeated, "refused": refused,
            "last_log_seq": last_log_seq,
        });
        let whole = call.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
        let mut response = if whole {
            let verdicts: Vec<Value> = self.lines.into_iter().map(|(_, line)| line).collect();
            call.data(json!({ "verdicts": verdicts, "summary": summary }))?
        } else {
            let mut text = String::new();
            for (_, line) in &self.lines {
                text.push_str(&line.to_string());
                text.push('\n');
            }
            text.push_str(&json!({ "summary": summary, "request_id": call.request_id }).to_string());
            text.push('\n');
            let mut response = json_response(StatusCode::OK, text);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            response
        };
        if let Some(position) = last_log_seq {
            response = at(response, position);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_with_the_blank_ones() {
        let read = lines(b"{\"a\":1}\r\n\n  \n{\"b\":2}\n\xff\n");
        let numbers: Vec<u64> = read.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 4, 5]);
        assert_eq!(read[0].text.as_deref(), Ok("{\"a\":1}"));
        assert_eq!(read[2].text, Err(LineFault::NotUtf8 { byte: 1 }));
        assert!(lines(b"").is_empty());
        let long = lines(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert_eq!(long[0].text, Err(LineFault::TooLong));
    }
}
