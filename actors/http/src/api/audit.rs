//! The record of operators' changes: read, and written for changes that are refused before the node is asked.

use super::call::Call;
use super::cursor;
use super::fault::{Answered, Fault};
use super::interface::Api;
use super::limits::Class;
use super::route::Route;
use crate::identities::Caller;
use decisiongraph_protocol::foreign_text::on_a_line;
use decisiongraph_protocol::{Asker, ChangesRequest, Proof};
use decisiongraph_store::{Change, ChangeEnd, ChangeOutcome, NewChange};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// Longest recorded reason of a refused change, and longest recorded message, in bytes.
const TEXT_BYTES_MAX: usize = 2_000;
/// Longest name that a console may give for its user, in bytes.
pub(super) const ON_BEHALF_BYTES_MAX: usize = 200;
/// Longest recorded id of a path, in bytes.
const TARGET_BYTES_MAX: usize = 300;

/// `GET /audit`: the changes that operators asked for, newest first.
pub fn list(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let scope = call.tenant.clone().unwrap_or_default();
        let before = match cursor::read(&scope, call.word, &call.query)? {
            None => None,
            Some(place) => Some(place.parse().map_err(|_| Fault::invalid("the cursor is faulty"))?),
        };
        let limit = call.query.number("limit")?.unwrap_or(100);
        let text = |key: &str| Ok::<_, Fault>(call.query.one(key)?.map(str::to_owned));
        let request = ChangesRequest {
            tenant: call.tenant.clone(),
            before,
            limit,
            since: text("since")?,
            identity: text("identity")?,
            action: text("action")?,
            outcome: text("outcome")?,
        };
        let reply = call.ask(request).await?;
        let next = reply.changes.last().filter(|_| reply.more);
        let next = next.map(|last| cursor::write(&last.change_id.to_string(), &scope, call.word, &call.query));
        let entries: Vec<Value> = reply.changes.iter().map(entry).collect();
        call.data(json!({ "entries": entries, "next_cursor": next }))
    }
    .boxed()
}

/// Writes an entry: its two rows as one.
fn entry(change: &Change) -> Value {
    let (asked, asker) = (&change.asked, &change.asked.asker);
    let end = change.end.as_ref();
    let message = match end {
        Some(end) => end.message.clone(),
        None if change.lost => format!("no end is recorded: {} died before it", asked.through),
        None => "under way".to_owned(),
    };
    json!({
        "audit_id": change.change_id, "at": change.at, "ended_at": change.ended_at, "request_id": asker.request_id,
        "identity": asker.identity, "token_id": asker.token_id, "on_behalf_of": asker.on_behalf_of,
        "peer": asker.peer, "door": asker.door, "through": asked.through, "action": asked.what,
        "tenant": asked.tenant, "projection": asked.projection, "target": asked.subject, "run_id": asked.run_id,
        "reason": asked.reason, "outcome": end.map(|end| end.outcome.as_str()),
        "code": end.and_then(|end| end.code.as_deref()), "message": message, "lost": change.lost,
    })
}

/// A request for a change that was let in. The node records it when it is asked to carry it out; until then a refusal
/// is recorded here.
pub struct Attempt {
    action: &'static str,
    asker: Asker,
    change: NewChange,
    /// Set when the node was asked, and has recorded the change.
    recorded: Arc<AtomicBool>,
}

/// Members of a body that the record has.
#[derive(Default, Deserialize)]
struct Noted {
    #[serde(default)]
    projection: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    on_behalf_of: Option<String>,
}

impl Attempt {
    /// Begins an attempt, when the route is one for operators' changes.
    pub fn of(route: &Route, call: &Call) -> Option<Attempt> {
        let caller = call.caller.as_ref().filter(|_| route.changes() && route.class != Class::Append)?;
        let target = call.path.first().map(|(_, value)| on_a_line(value, TARGET_BYTES_MAX));
        let change = NewChange { tenant: call.tenant.clone(), subject: target, ..NewChange::default() };
        let asker = Asker {
            peer: call.peer.map(|peer| peer.to_string()),
            request_id: Some(call.request_id.clone()),
            ..asker(caller, None)
        };
        Some(Attempt { action: route.word, asker, change, recorded: Arc::clone(&call.recorded) })
    }

    /// Takes what the record has out of the body. Returns the name of the user on whose behalf the caller asks.
    pub fn reads(&mut self, body: &[u8]) -> Option<String> {
        let noted: Noted = serde_json::from_slice(body).unwrap_or_default();
        let short = |text: Option<String>, bytes_max: usize| text.map(|text| on_a_line(&text, bytes_max));
        self.change.projection = short(noted.projection, TARGET_BYTES_MAX);
        self.change.reason = short(noted.reason, TEXT_BYTES_MAX).unwrap_or_default();
        self.asker.by = short(noted.on_behalf_of, ON_BEHALF_BYTES_MAX).filter(|name| !name.is_empty());
        self.asker.by.clone()
    }

    /// Records the refusal, unless the node has recorded the change. Without a record, the answer is 503.
    pub async fn refused(self, api: &Api, fault: Fault) -> Fault {
        if self.recorded.load(Ordering::SeqCst) {
            return fault;
        }
        let failed = fault.status.is_server_error();
        let end = ChangeEnd {
            outcome: if failed { ChangeOutcome::Failed } else { ChangeOutcome::Refused },
            code: Some(fault.code.to_owned()),
            message: on_a_line(&fault.message, TEXT_BYTES_MAX),
        };
        let asker = self.asker.of_change(Uuid::nil());
        let change = NewChange { what: self.action.to_owned(), asker, ..self.change };
        match api.surroundings.note_refusal(change, end).await {
            Ok(()) => fault,
            Err(_) if failed => fault,
            Err(error) => {
                tracing::warn!("a refused change is not recorded: {}", error.message);
                Fault::category(decisiongraph_projections::Category::Unavailable, "the request cannot be recorded")
            }
        }
    }
}

/// Makes the asker that this caller is.
pub fn asker(caller: &Caller, on_behalf_of: Option<String>) -> Asker {
    let name = caller.identity.name.clone();
    let proof = Proof::Identity { name, token: caller.token_id.clone() };
    Asker { reaches_all: caller.reaches_all(), ..Asker::new(on_behalf_of, proof) }
}
