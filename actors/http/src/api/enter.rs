//! The way in: id of the request, identity, tenant, right, rate, body; and the headers of every answer.

use super::audit::Attempt;
use super::call::{Call, no_tenant};
use super::fault::{Answered, Fault};
use super::held::Held;
use super::interface::Api;
use super::query::Query;
use super::route::{Needs, Place, Route, Takes};
use super::spans;
use crate::identities::{Caller, SOCKET};
use crate::otlp::Form;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::Bytes;
use decisiongraph_engine::telemetry::signals;
use decisiongraph_projections::TenantId;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument as _;
use uuid::Uuid;

/// Header with the id of the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header with the id under which a change is carried out once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest id of a request, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Longest path with its query, in bytes.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a refused body that are read before the answer, at most.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest time for that.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// Time in which a body has to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The other side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Address; none on the Unix socket, which only this user opens.
    pub peer: Option<SocketAddr>,
    /// True over TLS.
    pub tls: bool,
}

/// Lets a request in and has its route answer it. `routes` are those of its path; none when there is no such path.
pub async fn enter(
    api: Arc<Api>,
    routes: Option<Arc<[&'static Route]>>,
    path: Option<Vec<(String, String)>>,
    request: Request,
) -> Response<Body> {
    let begun = Instant::now();
    let request_id = request_id(request.headers());
    let origin = request.extensions().get::<Origin>().copied().unwrap_or(Origin { peer: None, tls: false });
    let route = match routes.as_deref() {
        None => Err(Fault::not_found("there is no such path").next("GET /api/v1/openapi.json lists the paths")),
        Some(routes) => choose(routes, request.method().as_str()),
    };
    let word = route.as_ref().map_or("none", |route| route.word);
    let otlp = route.as_ref().is_ok_and(|route| matches!(route.takes, Takes::Otlp(_)));
    let otlp = otlp.then(|| Form::of(request.headers()));
    let span = signals::http_span(word, &request_id);
    adopt(&api, origin, request.headers(), &span);
    let answered = async {
        match route {
            Ok(route) => let_in(&api, route, origin, &request_id, path, request).await,
            Err(fault) => Err(stranger_or(&api, origin, request.headers(), fault)),
        }
    }
    .instrument(span.clone())
    .await;
    let (response, code) = match answered {
        Ok(response) => (response, "ok"),
        Err(fault) => {
            signals::failed(&span, fault.category);
            let response = match otlp {
                Some(form) => spans::refused(form, &fault, &request_id),
                None => fault.response(&request_id),
            };
            (response, fault.code)
        }
    };
    span.record("status", response.status().as_u16());
    api.telemetry.record(&signals::HTTP_DURATION, begun.elapsed().as_secs_f64(), &[word, code]);
    finished(response, &request_id, origin)
}

/// Answers a path of the layer that a node never has, once the caller may know it.
pub async fn never(api: Arc<Api>, route: Option<&'static Route>, request: Request) -> Response<Body> {
    let request_id = request_id(request.headers());
    let origin = request.extensions().get::<Origin>().copied().unwrap_or(Origin { peer: None, tls: false });
    let check = || {
        let route = route.ok_or_else(|| Fault::not_found("there is no such path"))?;
        let caller = identify(&api, origin, request.headers())?;
        permit(&caller, route)?;
        let tenant = tenant_of(route.place, request.headers(), &Query::default())?;
        reach(&caller, route, tenant.as_ref())
    };
    let fault = match check() {
        Err(fault) => fault,
        Ok(()) => Fault::no_workflows(),
    };
    finished(fault.response(&request_id), &request_id, origin)
}

/// Makes the request a part of its caller's trace. A stranger's is not continued: it could fill another's trace.
fn adopt(api: &Api, origin: Origin, headers: &HeaderMap, span: &tracing::Span) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let (Some(adopt), Some(parent)) = (api.adopt, text("traceparent"))
        && known(api, origin, headers).is_some()
    {
        adopt(span, parent, text("tracestate"));
    }
}

/// A stranger is told nothing but that a token is missing, whatever else is wrong.
fn stranger_or(api: &Api, origin: Origin, headers: &HeaderMap, fault: Fault) -> Fault {
    match identify(api, origin, headers) {
        Err(stranger) if headers.contains_key(AUTHORIZATION) => stranger,
        _ => fault,
    }
}

fn choose(routes: &[&'static Route], method: &str) -> Result<&'static Route, Fault> {
    let wanted = if method == "HEAD" { "GET" } else { method };
    routes.iter().copied().find(|route| route.method.as_str() == wanted).ok_or_else(|| {
        let mut allow: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        Fault::method(allow.join(", "))
    })
}

async fn let_in(
    api: &Arc<Api>,
    route: &'static Route,
    origin: Origin,
    request_id: &str,
    path: Option<Vec<(String, String)>>,
    request: Request,
) -> Answered {
    let (parts, body) = request.into_parts();
    if parts.uri.path_and_query().is_some_and(|url| url.as_str().len() > URL_BYTES_MAX) {
        return Err(Fault::invalid(format!("the path and its query have more than {URL_BYTES_MAX} bytes")));
    }
    let caller = match route.needs {
        Needs::Nothing => {
            api.limits.admit_stranger(origin.peer.map(|peer| peer.ip()))?;
            None
        }
        _ => Some(identify(api, origin, &parts.headers)?),
    };
    let path = path.ok_or_else(|| Fault::invalid("the path is not percent-encoded UTF-8"))?;
    let query = Query::parse(parts.uri.query().unwrap_or_default(), route.parameters())?;
    let tenant = tenant_of(route.place, &parts.headers, &query)?;
    let span = tracing::Span::current();
    if let Some(tenant) = &tenant {
        span.record("tenant", tenant.as_str());
    }
    if let Some(caller) = &caller {
        span.record("identity", caller.identity.name.as_str());
        // Tenants that the caller does not reach share one rate: their names are the caller's invention.
        let reached = tenant.as_ref().filter(|tenant| caller.reaches(tenant));
        api.limits.admit(caller, reached, route.class)?;
    }
    let call = Call {
        api: Arc::clone(api),
        word: route.word,
        request_id: request_id.to_owned(),
        caller,
        peer: origin.peer,
        tenant,
        path,
        query,
        headers: parts.headers,
        body: Bytes::new(),
        room: None,
        id: Uuid::now_v7(),
        on_behalf_of: None,
        recorded: Arc::default(),
        held: Arc::default(),
    };
    let held = Arc::clone(&call.held);
    let mut attempt = Attempt::of(route, &call);
    let response = match (answer(route, call, &mut attempt, body).await, attempt) {
        (Err(fault), Some(attempt)) => return Err(attempt.refused(api, fault).await),
        (answered, _) => answered?,
    };
    let shares = std::mem::take(&mut *held.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    Ok(match shares.is_empty() {
        true => response,
        false => response.map(|body| Body::new(Held { body, _shares: shares })),
    })
}

/// Has the route answer a request whose caller is known: right and tenant first, then the body.
async fn answer(route: &Route, mut call: Call, attempt: &mut Option<Attempt>, body: Body) -> Answered {
    if let Some(caller) = &call.caller {
        permit(caller, route)?;
        reach(caller, route, call.tenant.as_ref())?;
    }
    if let Some(key) = call.headers.get(IDEMPOTENCY_KEY).filter(|_| route.changes()) {
        let key = key.to_str().ok().and_then(|key| key.parse().ok());
        call.id = key.ok_or_else(|| Fault::invalid("the header idempotency-key must be a UUID"))?;
    }
    let (body, room) = take(&call.api, route, &call.headers, body).await?;
    call.on_behalf_of = attempt.as_mut().and_then(|attempt| attempt.reads(&body));
    (call.body, call.room) = (body, room.map(Arc::new));
    (route.answer)(call).await
}

/// Finds the caller: by token, or by the socket that only this user opens.
fn identify(api: &Api, origin: Origin, headers: &HeaderMap) -> Result<Caller, Fault> {
    known(api, origin, headers).ok_or_else(|| {
        if !headers.contains_key(AUTHORIZATION) {
            return Fault::unauthorized("the request has no token");
        }
        if let (Some(peer), Some(left_out)) = (origin.peer, api.strangers.note(Instant::now())) {
            tracing::warn!(left_out, "a token from {} is not known, or has expired", peer.ip());
        }
        Fault::unauthorized("the token is not one of this node's identities, or it has expired")
    })
}

fn known(api: &Api, origin: Origin, headers: &HeaderMap) -> Option<Caller> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return origin.peer.is_none().then(|| Caller::local(SOCKET));
    };
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    token.filter(|token| !token.is_empty()).and_then(|token| api.identities.find(token))
}

/// Finds the tenant that header, query and route name. Both, and different: refused.
fn tenant_of(place: Place, headers: &HeaderMap, query: &Query) -> Result<Option<TenantId>, Fault> {
    let named = match headers.get("x-tenant-id") {
        None => None,
        Some(value) => Some(
            std::str::from_utf8(value.as_bytes()).map_err(|_| Fault::invalid("the header x-tenant-id is not UTF-8"))?,
        ),
    };
    let asked = query.one("tenant")?;
    let text = match (named, asked) {
        (Some(one), Some(other)) if one != other => {
            return Err(Fault::invalid("the header x-tenant-id and the parameter `tenant` name different tenants"));
        }
        (one, other) => one.or(other),
    };
    match (place, text) {
        (Place::Tenant, None | Some("")) => Err(no_tenant()),
        (Place::Tenant | Place::Node, Some(text)) if !text.is_empty() => {
            TenantId::new(text.to_owned()).map(Some).map_err(|error| Fault::invalid(error.message))
        }
        _ => Ok(None),
    }
}

fn permit(caller: &Caller, route: &Route) -> Result<(), Fault> {
    match route.needs {
        Needs::Right(right) if !caller.may(right) => {
            Err(Fault::forbidden(format!("this needs the right `{}`", super::call::word(right))))
        }
        _ => Ok(()),
    }
}

fn reach(caller: &Caller, route: &Route, tenant: Option<&TenantId>) -> Result<(), Fault> {
    match (route.place, tenant) {
        (_, Some(tenant)) if !caller.reaches(tenant) => {
            Err(Fault::forbidden("this identity does not reach that tenant"))
        }
        (Place::Node, None) if !caller.reaches_all() => {
            Err(Fault::forbidden("this identity does not reach every tenant")
                .next("name one of its tenants in the header x-tenant-id; GET /api/v1/whoami lists them"))
        }
        (Place::NodeWide, _) if !caller.reaches_all() => {
            Err(Fault::forbidden("this is about the whole node, and needs an identity that reaches every tenant"))
        }
        _ => Ok(()),
    }
}

/// Reads the body of a caller who was let in. Bytes are counted as they arrive, and again as they are unpacked.
async fn take(
    api: &Api,
    route: &Route,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Option<tokio::sync::OwnedSemaphorePermit>), Fault> {
    let (kinds, unpacked_max): (&[&str], usize) = match route.takes {
        Takes::Nothing => return Ok((Bytes::new(), None)),
        Takes::Json(bytes) | Takes::MaybeJson(bytes) => (&["application/json"], bytes),
        Takes::Lines(_, unpacked) => (&["application/x-ndjson"], unpacked),
        Takes::Otlp(bytes) => (&Form::TYPES, bytes),
    };
    let given = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let given = given.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let fits = match &given {
        Some(given) => kinds.contains(&given.as_str()),
        None => matches!(route.takes, Takes::MaybeJson(_)),
    };
    if !fits {
        return Err(Fault::media_type(format!("the content type must be {}", kinds.join(" or "))));
    }
    // The layer in front unpacks what it knows, and takes the header away.
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let encoding = encoding.to_str().unwrap_or_default();
        return Err(Fault::media_type(format!(
            "the encoding `{}` is not understood",
            super::query::on_a_line(encoding)
        )));
    }
    let length = headers.get(axum::http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let expected: usize = length.unwrap_or(unpacked_max);
    if expected > unpacked_max {
        drain(body).await;
        return Err(Fault::too_large(unpacked_max));
    }
    let room = api.limits.body(expected)?;
    let read = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, unpacked_max).collect()).await;
    match read {
        Err(_) => Err(Fault::too_slow()),
        Ok(Ok(body)) => Ok((body.to_bytes(), Some(room))),
        Ok(Err(error)) if is_length(&*error) => Err(Fault::too_large(unpacked_max)),
        Ok(Err(_)) => Err(Fault::invalid("the body broke off, or its encoding is faulty")),
    }
}

/// Reads on for a while without keeping anything: a client that still sends would not see an answer before it.
async fn drain(mut body: Body) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_DEADLINE, rest).await;
}

fn is_length(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        // An I/O error hides the error that it was made of.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

/// Takes the id that the request names, when a log line may quote it; draws one otherwise.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let quotable =
        |id: &&str| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(quotable).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Adds the headers that every answer has.
fn finished(mut response: Response<Body>, request_id: &str, origin: Origin) -> Response<Body> {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if origin.tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}
