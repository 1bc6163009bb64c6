//! A request that was let in: who asks, for which tenant, with what.

use super::fault::{Answered, Fault};
use super::interface::Api;
use super::query::Query;
use crate::identities::Caller;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use decisiongraph_engine::Share;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{AdminError, Asker, Request, Right, StatusRequest};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Header with a position: of an append, or of the log that an answer knows.
pub const LOG_SEQ: HeaderName = HeaderName::from_static("x-log-seq");

/// A request that was let in.
pub struct Call {
    /// The interface.
    pub api: Arc<Api>,
    /// Word of its route.
    pub word: &'static str,
    /// Id in the log, the envelope and the header.
    pub request_id: String,
    /// Identity behind it; none on an open route.
    pub caller: Option<Caller>,
    /// Address of the other side; none on the Unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// Tenant that it names.
    pub tenant: Option<TenantId>,
    /// Variable parts of its path, decoded.
    pub path: Vec<(String, String)>,
    /// Query.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, unpacked.
    pub body: Bytes,
    /// Memory that the body takes.
    pub room: Option<Arc<tokio::sync::OwnedSemaphorePermit>>,
    /// Id under which a change is carried out once.
    pub id: Uuid,
    /// Name that the caller gave of the user on whose behalf it asks for a change.
    pub on_behalf_of: Option<String>,
    /// Set when the node was asked for a change, and has recorded it.
    pub recorded: Arc<AtomicBool>,
    /// Shares of memory that the answer holds.
    pub held: Arc<Mutex<Vec<Share>>>,
}

impl Call {
    /// Returns the tenant, where the route is about one.
    pub fn tenant(&self) -> Result<TenantId, Fault> {
        self.tenant.clone().ok_or_else(no_tenant)
    }

    /// Returns a variable part of the path.
    pub fn part(&self, name: &str) -> &str {
        self.path.iter().find(|(part, _)| part == name).map_or("", |(_, value)| value)
    }

    /// Returns the caller of a route that asks for an identity.
    pub fn caller(&self) -> Result<&Caller, Fault> {
        self.caller.as_ref().ok_or_else(|| Fault::unauthorized("this route asks for a token"))
    }

    /// Returns the name under which a change is recorded.
    pub fn asker(&self) -> Result<Asker, Fault> {
        let asker = super::audit::asker(self.caller()?, self.on_behalf_of.clone());
        let peer = self.peer.map(|peer| peer.to_string());
        Ok(Asker { peer, request_id: Some(self.request_id.clone()), ..asker })
    }

    /// Has the node answer a request of the caller. `forbidden` when the caller has not the request's right, whatever
    /// the route asked for.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, Fault> {
        self.needs(R::FACTS.right)?;
        self.ask_for_the_route(request).await
    }

    /// Has the node answer a request that the route makes on its own, whatever the caller's rights. Only what the
    /// route's contract lists reaches the caller.
    pub async fn ask_for_the_route<R: Request>(&self, request: R) -> Result<R::Reply, Fault> {
        match self.carried_out(request).await? {
            Ok(reply) => Ok(reply),
            Err(error) if error.category == Category::ProjectionOutOfDate => Err(self.out_of_date(error).await),
            Err(error) => Err(self.shown(error)),
        }
    }

    /// Has the node answer a request about the seal. What is behind is the seal then, and no projection.
    pub async fn ask_seal<R: Request>(&self, request: R) -> Result<R::Reply, Fault> {
        self.needs(R::FACTS.right)?;
        self.carried_out(request).await?.map_err(|error| {
            let behind = error.category == Category::ProjectionOutOfDate;
            let fault = self.shown(error);
            match behind {
                true => fault.next("ask again later, or have it sealed at once: POST /api/v1/seal/now"),
                false => fault,
            }
        })
    }

    fn needs(&self, right: Option<Right>) -> Result<(), Fault> {
        let right = right.ok_or_else(|| Fault::forbidden("this request is not for HTTP"))?;
        match self.caller()?.may(right) {
            true => Ok(()),
            false => Err(Fault::forbidden(format!("this needs the right `{}`", word(right)))),
        }
    }

    async fn carried_out<R: Request>(&self, request: R) -> Result<Result<R::Reply, AdminError>, Fault> {
        let asker = self.asker()?;
        // Every request but a change has an id of its own: one HTTP request may ask the node several times.
        let id = if R::FACTS.changes { self.id } else { Uuid::now_v7() };
        let (reply, share) = self.api.desk.carry_out(id, asker, request.into(), self.api.bounds.deadline).await;
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(share);
        if R::FACTS.changes && !matches!(&reply, Err(error) if error.category == Category::IdempotencyConflict) {
            // What came to the node's answers is recorded there. A key that stands for another request does not come.
            self.recorded.store(true, Ordering::SeqCst);
        }
        Ok(reply.and_then(R::Reply::try_from))
    }

    /// Gives back the memory of the replies so far: their pages were sent. An answer that goes on for long calls this
    /// after each page.
    pub fn let_go(&self) {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    }

    /// Makes the fault of an error, and writes its cause to the log when the caller does not see it.
    pub fn shown(&self, error: AdminError) -> Fault {
        let mut fault = Fault::from(error.clone());
        let category = error.category;
        let of_database = matches!(category, Category::Unavailable | Category::Storage | Category::VersionMismatch);
        if of_database && !self.caller.as_ref().is_some_and(Caller::reaches_all) {
            // Addresses and sessions of the database are for callers who reach all of it.
            "the node cannot do this now; its log has the cause under this request id".clone_into(&mut fault.message);
        }
        if fault.message != error.message {
            tracing::warn!(
                request_id = self.request_id,
                category = %error.category,
                "the caller is not told the cause: {}",
                error.message
            );
        }
        fault
    }

    /// Says which projection is behind, and by how much.
    async fn out_of_date(&self, error: AdminError) -> Fault {
        let fault = Fault::from(error);
        let Some(tenant) = self.tenant.clone() else { return fault };
        let request = StatusRequest { filter: filter(Some(tenant), None), ..StatusRequest::default() };
        let Ok(asker) = self.asker() else { return fault };
        let id = Uuid::now_v7();
        let (status, _) = self.api.desk.carry_out(id, asker, request.into(), self.api.bounds.deadline).await;
        let Ok(Ok(status)) = status.map(<StatusRequest as Request>::Reply::try_from) else { return fault };
        let Some(scope) = status.scopes.iter().filter(|scope| scope.is_behind()).min_by_key(|scope| scope.cursor)
        else {
            return fault;
        };
        fault
            .detail("projection", scope.projection.clone())
            .detail("cursor", scope.cursor.0)
            .detail("last_log_seq", scope.last_log_seq.0)
            .detail("events", scope.lag.events)
    }

    /// Reads the body as a JSON object with the members of `T` and no others.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let text = if self.body.is_empty() { &b"{}"[..] } else { &self.body };
        let value: Value = serde_json::from_slice(text).map_err(|_| Fault::invalid("the body is not valid JSON"))?;
        if !value.is_object() {
            return Err(Fault::invalid("the body must be a JSON object"));
        }
        serde_json::from_value(value).map_err(|error| Fault::invalid(format!("the body: {error}")))
    }

    /// Writes an answer: `data` in the envelope.
    pub fn data(&self, data: Value) -> Answered {
        self.with_status(StatusCode::OK, data)
    }

    /// Writes a reply of the node in the envelope.
    pub fn reply<R: decisiongraph_protocol::Reply>(&self, reply: &R) -> Answered {
        let json = reply.to_json().map_err(|error| self.shown(internal(error)))?;
        // The reply is passed on digit for digit: a number in a payload may have any size.
        let id = serde_json::to_string(&self.request_id).unwrap_or_default();
        Ok(json_response(StatusCode::OK, format!("{{\"data\":{json},\"request_id\":{id}}}\n")))
    }

    /// Writes an answer of this status.
    pub fn with_status(&self, status: StatusCode, data: Value) -> Answered {
        let body = json!({ "data": data, "request_id": self.request_id });
        Ok(json_response(status, format!("{body}\n")))
    }

    /// Writes a text that is JSON already as `data`.
    pub fn raw(&self, status: StatusCode, data: &str) -> Answered {
        let id = serde_json::to_string(&self.request_id).unwrap_or_default();
        Ok(json_response(status, format!("{{\"data\":{data},\"request_id\":{id}}}\n")))
    }
}

/// Adds the position up to which an answer knows the log.
pub fn at(mut response: Response<Body>, position: LogSeq) -> Response<Body> {
    response.headers_mut().insert(LOG_SEQ, HeaderValue::from(position.0));
    response
}

pub(super) fn json_response(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns the word of a right.
pub fn word(right: Right) -> String {
    serde_json::to_value(right).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn filter(tenant: Option<TenantId>, projection: Option<String>) -> decisiongraph_protocol::ScopeFilter {
    decisiongraph_protocol::ScopeFilter { tenant, projection }
}

pub(super) fn internal(error: impl std::fmt::Display) -> AdminError {
    AdminError::new(Category::Internal, error.to_string())
}

pub(super) fn no_tenant() -> Fault {
    Fault::invalid("the request names no tenant").next("send the header `x-tenant-id`, or `?tenant=`")
}

/// Returns the members of an object whose value is not null.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
