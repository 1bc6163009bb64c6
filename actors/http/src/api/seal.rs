//! Routes of the sealed log: its state, its notes and proofs, and operators' changes to it.
//!
//! *Guarantees.* Notes and proofs are passed on byte for byte. A pack that cannot be written whole ends with a broken
//! connection: a client never takes a part of it for the whole.

use super::call::Call;
use super::cursor;
use super::fault::{Answered, Fault};
use super::operate::{check_on_behalf, shown, why_of};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use decisiongraph_protocol::{
    AuditPackReply, AuditPackRequest, ConsistencyRequest, PackOf, ProveRequest, SealCheckpointsRequest,
    SealForkRequest, SealInitRequest, SealNowRequest, SealRebuildRequest, SealStatusRequest, SealTileRequest,
    check_reason,
};
use decisiongraph_store::NoteKind;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

/// Events per page of a pack.
const PACK_EVENTS: i64 = 500;
/// Notes or tenants of a page without a limit.
const PAGE: i64 = 100;
/// Wait of `now` without `wait_ms`, in milliseconds.
const WAIT_MS: u64 = 10_000;

/// `GET /seal/status`.
pub fn status(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let scope = call.tenant.clone().unwrap_or_default();
        let after = cursor::read(&scope, call.word, &call.query)?;
        let after = after.map(decisiongraph_projections::TenantId::new).transpose();
        let after = after.map_err(|_| Fault::invalid("the cursor is faulty"))?;
        let limit = Some(call.query.number("limit")?.unwrap_or(PAGE));
        let reply = call.ask_seal(SealStatusRequest { tenant: call.tenant.clone(), after, limit }).await?;
        let next = reply.seals.last().filter(|_| reply.more);
        let next = next.map(|last| cursor::write(last.tenant.as_str(), &scope, call.word, &call.query));
        paged(&call, shown(&call, &reply)?, next)
    }
    .boxed()
}

/// Writes a page of a list: its reply with the cursor behind it.
fn paged(call: &Call, mut reply: Value, next: Option<String>) -> Answered {
    if let Some(reply) = reply.as_object_mut() {
        reply.remove("more");
        reply.insert("next_cursor".to_owned(), next.into());
    }
    call.data(reply)
}

/// `GET /seal/checkpoint`: the newest signed head, or that of a size.
pub fn checkpoint(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let (tree, size) = (call.query.number("tree")?, call.query.number("size")?);
        let tenant = call.tenant.clone();
        let request = SealCheckpointsRequest { tenant, tree, size, limit: 1, ..SealCheckpointsRequest::default() };
        let reply = call.ask_seal(request).await?;
        let Some(note) = reply.notes.first() else {
            return Err(Fault::not_found(match size {
                Some(size) => format!("the database has no checkpoint for {size} events"),
                None => "this log has no checkpoint yet".to_owned(),
            }));
        };
        call.data(json!({
            "origin": reply.origin, "tree": note.tree, "size": note.size, "noted_at": note.noted_at,
            "checkpoint": note.note,
        }))
    }
    .boxed()
}

/// `GET /seal/checkpoints`: signed notes, newest first.
pub fn checkpoints(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let scope = call.tenant.clone().unwrap_or_default();
        let before = match cursor::read(&scope, call.word, &call.query)? {
            None => None,
            Some(place) => Some(place.parse().map_err(|_| Fault::invalid("the cursor is faulty"))?),
        };
        let kind = match call.query.one("kind")? {
            None => None,
            Some(word) => Some(NoteKind::parse(word).ok_or_else(|| Fault::invalid("`kind` is not a kind of a note"))?),
        };
        let request = SealCheckpointsRequest {
            tenant: call.tenant.clone(),
            tree: call.query.number("tree")?,
            kind,
            size: None,
            before,
            limit: call.query.number("limit")?.unwrap_or(PAGE),
        };
        let reply = call.ask_seal(request).await?;
        let next = reply.notes.last().filter(|_| reply.more);
        let next = next.map(|last| cursor::write(&last.number.to_string(), &scope, call.word, &call.query));
        paged(&call, shown(&call, &reply)?, next)
    }
    .boxed()
}

/// `GET /seal/proof`.
pub fn prove(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let event_id = call.query.one("event_id")?.map(str::to_owned);
        let log_seq = call.query.position("log_seq")?;
        if event_id.is_some() == log_seq.is_some() {
            return Err(Fault::invalid("name the event by `event_id` or by `log_seq`"));
        }
        let reply = call.ask_seal(ProveRequest { tenant: call.tenant.clone(), event_id, log_seq }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `GET /seal/consistency`.
pub fn consistency(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let size = |name: &str| {
            call.query.number(name)?.ok_or_else(|| Fault::invalid(format!("the parameter `{name}` is missing")))
        };
        let (from, to, tree) = (size("from")?, size("to")?, call.query.number("tree")?);
        let reply = call.ask_seal(ConsistencyRequest { tenant: call.tenant.clone(), tree, from, to }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `GET /seal/tile`.
pub fn tile(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let missing = |name: &str| Fault::invalid(format!("the parameter `{name}` is missing"));
        let request = SealTileRequest {
            tenant: call.tenant.clone(),
            tree: call.query.number("tree")?,
            level: call.query.number("level")?.ok_or_else(|| missing("level"))?,
            index: call.query.number("index")?.ok_or_else(|| missing("index"))?,
            width: call.query.number("width")?,
        };
        let reply = call.ask_seal(request).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// Reads the selection of a pack.
fn pack_of(call: &Call) -> Result<PackOf, Fault> {
    let trace = call.query.one("trace_id")?.map(str::to_owned);
    let (from, to) = (call.query.position("from_log_seq")?, call.query.position("to_log_seq")?);
    let events = call.query.list("event_id").unwrap_or_default();
    match (trace, from, to, events.is_empty()) {
        (Some(trace), None, None, true) => Ok(PackOf::Trace(trace)),
        (None, Some(from), Some(to), true) => Ok(PackOf::Range(from, to)),
        (None, None, None, false) => Ok(PackOf::Events(events)),
        _ => Err(Fault::invalid("name the events of the pack in one way")
            .next("trace_id, or from_log_seq with to_log_seq, or event_id (repeated)")),
    }
}

/// `GET /seal/pack`: an evidence pack, as lines.
pub fn pack(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let request = AuditPackRequest {
            tenant: Some(call.tenant()?),
            of: pack_of(&call)?,
            redact: call.query.list("redact").unwrap_or_default(),
            without_payloads: call.query.switch("without_payloads")?,
            rotations: call.query.switch("rotations")?,
            after: None,
            limit: PACK_EVENTS,
        };
        // The first page is read before the answer begins: a fault of it has a status.
        let first = call.ask_seal(request.clone()).await?;
        let pages = futures_util::stream::unfold(Some((call, request, first)), |state| async move {
            let (call, request, AuditPackReply { text, next, .. }) = state?;
            if next.is_none() {
                return Some((Ok(Bytes::from(text)), None));
            }
            call.let_go();
            let request = AuditPackRequest { after: next, ..request };
            match call.ask_seal(request.clone()).await {
                Ok(page) => Some((Ok(Bytes::from(text)), Some((call, request, page)))),
                // The connection is broken off: a client never takes half a pack for the whole.
                Err(fault) => Some((Err(std::io::Error::other(fault.message)), None)),
            }
        });
        let mut response = Response::new(Body::from_stream(pages));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(response)
    }
    .boxed()
}

/// `POST /seal/now`.
pub fn now(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        why_of(&call, false)?;
        let request = SealNowRequest { tenant: call.tenant.clone(), wait_ms: call.query.wait_ms(WAIT_MS)? };
        let reply = call.ask_seal(request).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// Body that begins a tree.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Init {
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    trust_database: bool,
    reason: String,
    #[serde(default)]
    on_behalf_of: Option<String>,
}

/// `POST /seal/init`.
pub fn init(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let Init { origin, trust_database, reason, on_behalf_of } = call.json()?;
        check_on_behalf(on_behalf_of.as_ref())?;
        check_reason(&reason).map_err(|error| Fault::invalid(error.message))?;
        if origin.is_some() == trust_database {
            return Err(Fault::invalid("name an `origin`, or say `trust_database`"));
        }
        let request = SealInitRequest { tenant: call.tenant.clone(), origin, trust_database, reason };
        let reply = call.ask_seal(request).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `POST /seal/fork`.
pub fn fork(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let reason = why_of(&call, true)?.unwrap_or_default();
        let reply = call.ask_seal(SealForkRequest { tenant: call.tenant.clone(), reason }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `POST /seal/rebuild`.
pub fn rebuild(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let reason = why_of(&call, true)?.unwrap_or_default();
        let reply = call.ask_seal(SealRebuildRequest { tenant: call.tenant.clone(), reason }).await?;
        call.reply(&reply)
    }
    .boxed()
}
