//! Routes of operators: the state of scopes, jobs, failures and nodes, and changes to them.

use super::audit::ON_BEHALF_BYTES_MAX;
use super::call::{Call, filter};
use super::cursor;
use super::fault::{Answered, Fault};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::{
    CancelRunRequest, CatchUpRequest, ClusterRequest, CordonRequest, FailureRequest, FailuresRequest, HealthRequest,
    JobReply, JobRequest, ListRequest, METADATA_BYTES_MAX, PauseRequest, ReadRunRequest, RebuildCheckRequest,
    RebuildRequest, ResumeRequest, ResumeRunRequest, RetryRequest, Right, RunsRequest, SkipRequest, StatusRequest,
    TreeRequest, UncordonRequest, VerifyRequest, WATCH_MS_MAX, WatchRunRequest, WhyRequest, check_reason,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// `GET /status`.
pub fn status(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let projection = call.query.one("projection")?.map(str::to_owned);
        let request = StatusRequest { filter: filter(call.tenant.clone(), projection), ..StatusRequest::default() };
        let reply = call.ask(request).await?;
        let mut json = serde_json::to_value(&reply).map_err(|error| call.shown(super::call::internal(error)))?;
        if !call.caller()?.reaches_all() {
            // The node has left out what they said: facts about the whole database.
            for member in ["database", "sequence"] {
                json.as_object_mut().map(|object| object.remove(member));
            }
            for writer in json["waiting_for"].as_array_mut().into_iter().flatten() {
                for member in ["pid", "query", "transaction"] {
                    writer.as_object_mut().map(|object| object.remove(member));
                }
            }
        }
        call.data(json)
    }
    .boxed()
}

/// `GET /health`.
pub fn health(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let reply = call.ask(HealthRequest(filter(call.tenant.clone(), None))).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `GET /why`.
pub fn why(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let all = call.query.switch("all")?;
        let reply = call.ask(WhyRequest { filter: filter(call.tenant.clone(), None), all }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `GET /tree`.
pub fn tree(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let text = |key: &str| Ok::<_, Fault>(call.query.one(key)?.map(str::to_owned));
        let limit = call.query.number("limit")?.unwrap_or(100);
        let request = TreeRequest { of: text("of")?, under: text("under")?, after: text("after")?, limit };
        let reply = call.ask(request).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `GET /cluster`.
pub fn cluster(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let reply = call.ask(ClusterRequest).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// Returns a page of a list: its reply, and the cursor behind it.
fn list(call: &Call) -> Result<ListRequest, Fault> {
    let scope = call.tenant.clone().unwrap_or_default();
    Ok(ListRequest {
        tenant: call.tenant.clone(),
        projection: call.query.one("projection")?.map(str::to_owned),
        open_only: call.query.switch("open")?,
        limit: call.query.number("limit")?.unwrap_or(100),
        after: cursor::read(&scope, call.word, &call.query)?,
        skips: false,
    })
}

fn listed(call: &Call, name: &str, items: Value, more: bool, last: Option<String>) -> Answered {
    let scope = call.tenant.clone().unwrap_or_default();
    let next = last.filter(|_| more).map(|last| cursor::write(&last, &scope, call.word, &call.query));
    call.data(json!({ name: items, "next_cursor": next }))
}

/// `GET /runs`.
pub fn runs(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let reply = call.ask(RunsRequest(list(&call)?)).await?;
        let last = reply.runs.last().map(|run| run.run_id.to_string());
        let json: Value = shown(&call, &reply)?;
        listed(&call, "runs", json["runs"].clone(), reply.more, last)
    }
    .boxed()
}

/// `GET /failures`.
pub fn failures(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let reply = call.ask(FailuresRequest(list(&call)?)).await?;
        let last = reply.failures.last().map(|failure| failure.failure_id.to_string());
        let json: Value = shown(&call, &reply)?;
        listed(&call, "failures", json["failures"].clone(), reply.more, last)
    }
    .boxed()
}

/// Returns a reply as JSON.
pub(super) fn shown<R: decisiongraph_protocol::Reply>(call: &Call, reply: &R) -> Result<Value, Fault> {
    let text = reply.to_json().map_err(|error| call.shown(super::call::internal(error)))?;
    serde_json::from_str(&text).map_err(|error| call.shown(super::call::internal(error)))
}

/// Reads the id of a job in the path.
pub(super) fn run_id(call: &Call) -> Result<Uuid, Fault> {
    // An id that is no id is unknown, like every other.
    call.part("id")
        .parse()
        .map_err(|_| Fault::not_found(format!("there is no job `{}`", super::query::on_a_line(call.part("id")))))
}

/// `GET /runs/{id}`.
pub fn run(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let run_id = run_id(&call)?;
        // The job is this tenant's, or unknown.
        let read = ReadRunRequest { run_id, of: filter(call.tenant.clone(), None) };
        let mut run = call.ask(read.clone()).await?;
        let end = Instant::now() + Duration::from_millis(call.query.wait_ms(0)?);
        let mut watched = None;
        while !decisiongraph_protocol::has_ended(run.state) {
            let left = end.saturating_duration_since(Instant::now());
            let wait_ms = (left.as_millis() as u64).min(WATCH_MS_MAX);
            watched = Some(call.ask(WatchRunRequest { run_id, wait_ms }).await?);
            run = call.ask(read.clone()).await?;
            if left.is_zero() {
                break;
            }
        }
        let mut data = json!({ "run": shown(&call, &run)? });
        if let Some(watched) = watched {
            data["progress"] = serde_json::to_value(&watched.progress).unwrap_or_default();
            data["report"] = serde_json::to_value(&watched.report).unwrap_or_default();
        }
        call.data(data)
    }
    .boxed()
}

/// `GET /runs/check`: what a rebuild would cost.
pub fn rebuild_check(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let projection = call.query.one("projection")?.map(str::to_owned);
        let request = JobRequest { tenant: call.tenant.clone(), projection, ..JobRequest::default() };
        let reply = call.ask(RebuildCheckRequest(request)).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// Body that starts a job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    mode: String,
    projection: String,
    #[serde(default)]
    until: Option<i64>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    on_behalf_of: Option<String>,
}

/// Job that a body asks for.
pub(super) struct NewJob {
    pub mode: String,
    pub projection: String,
    pub until: Option<LogSeq>,
    pub reason: Option<String>,
    pub metadata: Option<Map<String, Value>>,
}

/// Starts a job and returns it. Its id is that of the request.
pub(super) async fn start(call: &Call, job: NewJob) -> Result<decisiongraph_store::Run, Fault> {
    if let Some(reason) = &job.reason {
        check_reason(reason).map_err(|error| Fault::invalid(error.message))?;
    }
    let metadata = match &job.metadata {
        None => None,
        Some(map) => {
            let text = Value::Object(map.clone()).to_string();
            if text.len() > METADATA_BYTES_MAX {
                return Err(Fault::invalid(format!("`metadata` has more than {METADATA_BYTES_MAX} bytes")));
            }
            Some(text)
        }
    };
    let request = JobRequest {
        tenant: call.tenant.clone(),
        projection: Some(job.projection),
        until: job.until,
        run_id: Some(call.id),
        detach: true,
        reason: job.reason,
        metadata,
        ..JobRequest::default()
    };
    let reply = match job.mode.as_str() {
        "catch_up" => call.ask(CatchUpRequest(request)).await?,
        "rebuild" => call.ask(RebuildRequest(request)).await?,
        "verify" => call.ask(VerifyRequest(request)).await?,
        _ => return Err(Fault::invalid("`mode` must be catch_up, rebuild or verify")),
    };
    match reply {
        JobReply::Begun(watch) => Ok(watch.run),
        JobReply::Ended(report) => Ok(report.run),
    }
}

/// Right that a job of this mode needs.
pub(super) fn right_of(mode: &str) -> Option<Right> {
    match mode {
        "catch_up" => Some(Right::Replay),
        "rebuild" => Some(Right::Rebuild),
        "verify" => Some(Right::Prove),
        _ => None,
    }
}

/// Refuses a caller without the right of this mode, before anything else is looked at.
pub(super) fn allow(call: &Call, mode: &str) -> Result<(), Fault> {
    let right = right_of(mode).ok_or_else(|| Fault::invalid("`mode` must be catch_up, rebuild or verify"))?;
    match call.caller()?.may(right) {
        true => Ok(()),
        false => Err(Fault::forbidden(format!("this needs the right `{}`", super::call::word(right)))),
    }
}

/// Checks the name of the user on whose behalf a caller asks.
pub(super) fn check_on_behalf(name: Option<&String>) -> Result<(), Fault> {
    match name {
        Some(name) if name.is_empty() || name.len() > ON_BEHALF_BYTES_MAX || name.chars().any(char::is_control) => {
            Err(Fault::invalid(format!("`on_behalf_of` must have 1 to {ON_BEHALF_BYTES_MAX} bytes, on one line")))
        }
        _ => Ok(()),
    }
}

/// `POST /runs`.
pub fn start_run(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let body: Start = call.json()?;
        allow(&call, &body.mode)?;
        check_on_behalf(body.on_behalf_of.as_ref())?;
        if body.mode == "rebuild" && body.reason.is_none() {
            return Err(Fault::invalid("a rebuild needs a `reason`"));
        }
        let until = body.until.map(LogSeq);
        let Start { mode, projection, reason, metadata, .. } = body;
        let run = start(&call, NewJob { mode, projection, until, reason, metadata }).await?;
        let location = format!("/api/v1/runs/{}", run.run_id);
        let mut response = call.with_status(StatusCode::ACCEPTED, json!({ "run": shown(&call, &run)? }))?;
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
    .boxed()
}

/// Body of a change that may have a reason.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    on_behalf_of: Option<String>,
}

/// Reads the reason of a change in the body.
pub(super) fn why_of(call: &Call, needed: bool) -> Result<Option<String>, Fault> {
    let Why { reason, on_behalf_of } = call.json()?;
    check_on_behalf(on_behalf_of.as_ref())?;
    match &reason {
        None if needed => Err(Fault::invalid("this change needs a `reason`: the next operator reads it")),
        Some(text) => check_reason(text).map(|()| reason).map_err(|error| Fault::invalid(error.message)),
        None => Ok(None),
    }
}

/// `POST /runs/{id}/cancel`.
pub fn cancel_run(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let (run_id, reason) = (run_id(&call)?, why_of(&call, false)?);
        let of = filter(call.tenant.clone(), None);
        // The right to end a job is the right to start it.
        let run = call.ask_for_the_route(ReadRunRequest { run_id, of: of.clone() }).await?;
        allow(&call, run.mode.as_str())?;
        let run = call.ask_for_the_route(CancelRunRequest { run_id, reason, of }).await?;
        call.data(json!({ "run": shown(&call, &run)? }))
    }
    .boxed()
}

/// `POST /runs/{id}/resume`.
pub fn resume_run(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let (run_id, reason) = (run_id(&call)?, why_of(&call, false)?);
        let of = filter(call.tenant.clone(), None);
        let run = call.ask_for_the_route(ReadRunRequest { run_id, of: of.clone() }).await?;
        allow(&call, run.mode.as_str())?;
        let run = match call.ask_for_the_route(ResumeRunRequest { run_id, reason, of }).await? {
            JobReply::Begun(watch) => watch.run,
            JobReply::Ended(report) => report.run,
        };
        call.with_status(StatusCode::ACCEPTED, json!({ "run": shown(&call, &run)? }))
    }
    .boxed()
}

fn failure_id(call: &Call) -> Result<i64, Fault> {
    call.part("id")
        .parse()
        .map_err(|_| Fault::not_found(format!("there is no failure `{}`", super::query::on_a_line(call.part("id")))))
}

/// `GET /failures/{id}`.
pub fn failure(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let of = filter(call.tenant.clone(), None);
        let request = FailureRequest { failure_id: failure_id(&call)?, replay: call.query.switch("replay")?, of };
        let reply = call.ask(request).await?;
        call.reply(&reply)
    }
    .boxed()
}

fn skipped(call: Call, revoke: bool) -> BoxFuture<'static, Answered> {
    async move {
        let (failure_id, reason) = (failure_id(&call)?, why_of(&call, true)?.unwrap_or_default());
        let request = SkipRequest { failure_id, reason, revoke, of: filter(call.tenant.clone(), None) };
        let reply = call.ask(request).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `POST /failures/{id}/skip`.
pub fn skip(call: Call) -> BoxFuture<'static, Answered> {
    skipped(call, false)
}

/// `POST /failures/{id}/revoke-skip`.
pub fn revoke_skip(call: Call) -> BoxFuture<'static, Answered> {
    skipped(call, true)
}

/// Body that names scopes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scopes {
    #[serde(default)]
    projection: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    on_behalf_of: Option<String>,
}

fn scopes(call: &Call) -> Result<Scopes, Fault> {
    let scopes: Scopes = call.json()?;
    check_on_behalf(scopes.on_behalf_of.as_ref())?;
    if let Some(reason) = &scopes.reason {
        check_reason(reason).map_err(|error| Fault::invalid(error.message))?;
    }
    Ok(scopes)
}

/// `POST /scopes/pause`.
pub fn pause(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let Scopes { projection, reason, .. } = scopes(&call)?;
        let reason = reason.ok_or_else(|| Fault::invalid("a pause needs a `reason`: the next operator reads it"))?;
        let reply = call.ask(PauseRequest { tenant: call.tenant.clone(), projection, reason }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `POST /scopes/resume`.
pub fn resume(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let Scopes { projection, reason, .. } = scopes(&call)?;
        let reply = call.ask(ResumeRequest { tenant: call.tenant.clone(), projection, reason }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `POST /scopes/retry`.
pub fn retry(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let Scopes { projection, reason, .. } = scopes(&call)?;
        let reply = call.ask(RetryRequest { tenant: call.tenant.clone(), projection, reason }).await?;
        let run = match &reply {
            JobReply::Begun(watch) => &watch.run,
            JobReply::Ended(report) => &report.run,
        };
        call.with_status(StatusCode::ACCEPTED, json!({ "run": shown(&call, run)? }))
    }
    .boxed()
}

fn cordoned(call: Call, draining: bool) -> BoxFuture<'static, Answered> {
    async move {
        let (node, reason) = (call.part("name").to_owned(), why_of(&call, true)?.unwrap_or_default());
        let reply = call.ask(CordonRequest { node, draining, reason }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `POST /cluster/nodes/{name}/cordon`.
pub fn cordon(call: Call) -> BoxFuture<'static, Answered> {
    cordoned(call, false)
}

/// `POST /cluster/nodes/{name}/drain`.
pub fn drain(call: Call) -> BoxFuture<'static, Answered> {
    cordoned(call, true)
}

/// `POST /cluster/nodes/{name}/uncordon`.
pub fn uncordon(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let (node, reason) = (call.part("name").to_owned(), why_of(&call, false)?);
        let reply = call.ask(UncordonRequest { node, reason }).await?;
        call.reply(&reply)
    }
    .boxed()
}
