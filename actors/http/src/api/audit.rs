//! The record of operators' changes.

use super::call::Call;
use super::cursor;
use super::fault::{Answered, Fault};
use decisiongraph_protocol::ChangesRequest;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// `GET /audit`: the changes that operators asked for, newest first.
pub fn list(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let scope = call.tenant.clone().unwrap_or_default();
        let before = match cursor::read(&scope, call.word, &call.query)? {
            None => None,
            Some(place) => Some(place.parse().map_err(|_| Fault::invalid("the cursor is faulty"))?),
        };
        let limit = call.query.number("limit")?.unwrap_or(100);
        let reply = call.ask(ChangesRequest { tenant: call.tenant.clone(), before, limit }).await?;
        let (identity, action) = (call.query.one("identity")?, call.query.one("action")?);
        let next = reply.changes.last().filter(|_| reply.more).map(|last| last.change_id.to_string());
        let kept = reply.changes.iter().filter(|change| {
            identity.is_none_or(|name| change.asked.by == name) && action.is_none_or(|word| change.asked.what == word)
        });
        let entries: Vec<Value> = kept
            .map(|change| {
                let asked = &change.asked;
                let (outcome, code, message) = outcome(change.outcome.as_deref());
                json!({
                    "audit_id": change.change_id, "at": change.at, "identity": asked.by, "action": asked.what,
                    "tenant": asked.tenant, "projection": asked.projection, "target": asked.subject,
                    "reason": asked.reason, "through": asked.through, "outcome": outcome, "code": code,
                    "message": message,
                })
            })
            .collect();
        let next = next.map(|place| cursor::write(&place, &scope, call.word, &call.query));
        call.data(json!({ "entries": entries, "next_cursor": next }))
    }
    .boxed()
}

/// Splits a recorded outcome: its word, the code of a refusal, and its text.
fn outcome(recorded: Option<&str>) -> (Option<&'static str>, Option<&str>, Option<&str>) {
    match recorded {
        // Not ended, or the process died in between.
        None => (None, None, None),
        Some("done" | "begun") => (Some("accepted"), None, None),
        Some(text) => match text.split_once(": ") {
            Some((code, message)) => (Some("refused"), Some(code), Some(message)),
            None => (Some("failed"), None, Some(text)),
        },
    }
}
