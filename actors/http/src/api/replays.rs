//! Jobs, as the original service's clients ask for them.

use super::call::Call;
use super::fault::{Answered, Fault};
use super::objects::{self, SINCE};
use super::operate::{NewJob, allow, run_id, start};
use axum::http::StatusCode;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::{CancelRunRequest, ReadRunRequest, ScopeFilter, has_ended};
use decisiongraph_store::Run;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Time that a cancelled job has to end, before the answer says that it still runs.
const CANCEL_WAIT: Duration = Duration::from_secs(2);
/// Pause between two looks at a job that ends.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Body of a start.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    projection: String,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    until_log_seq: Option<i64>,
    #[serde(default)]
    since_log_seq: Option<i64>,
}

/// `POST /admin/replays`.
pub fn begin(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let body: Start = call.json()?;
        let mode = body.mode.unwrap_or_else(|| "catch_up".to_owned());
        if mode == "verify" {
            return Err(Fault::invalid("`mode` must be catch_up or rebuild"));
        }
        allow(&call, &mode)?;
        let mut metadata = body.metadata.unwrap_or_default();
        let noted = metadata.get("reason").and_then(Value::as_str).map(str::to_owned);
        let reason = body.reason.or(noted).ok_or_else(|| Fault::invalid("a replay needs a `reason`"))?;
        if mode == "rebuild" && body.until_log_seq.is_some() {
            return Err(Fault::invalid("a rebuild is of the whole log: leave `until_log_seq` out"));
        }
        let notes: Vec<&str> = match body.since_log_seq {
            None => Vec::new(),
            Some(since) => {
                metadata.insert(SINCE.to_owned(), since.into());
                vec!["since_log_seq is recorded and has no effect: a catch-up starts at the projection's cursor"]
            }
        };
        // Under an idempotency-key, the same request again is the same job, whatever id it travels under.
        let asked = match call.headers.contains_key("idempotency-key") {
            true => call.id.to_string(),
            false => call.request_id.clone(),
        };
        metadata.entry("request_id").or_insert_with(|| asked.into());
        let roles: Vec<&str> = call.caller()?.identity.roles.iter().map(|role| role.as_str()).collect();
        metadata.entry("requested_by_roles").or_insert_with(|| json!(roles));
        let until = body.until_log_seq.map(LogSeq);
        let job = NewJob { mode, projection: body.projection, until, reason: Some(reason), metadata: Some(metadata) };
        let run = start(&call, job).await?;
        let mut data = json!({ "run": objects::run(&run) });
        if !notes.is_empty() {
            data["notes"] = json!(notes);
        }
        call.with_status(StatusCode::ACCEPTED, data)
    }
    .boxed()
}

async fn read(call: &Call) -> Result<(Run, ScopeFilter), Fault> {
    let of = ScopeFilter { tenant: call.tenant.clone(), projection: None };
    let run = call.ask_for_the_route(ReadRunRequest { run_id: run_id(call)?, of: of.clone() }).await?;
    Ok((run, of))
}

/// `GET /admin/replays/{id}`.
pub fn status(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let (run, _) = read(&call).await?;
        allow(&call, run.mode.as_str())?;
        call.data(json!({ "run": objects::run(&run) }))
    }
    .boxed()
}

/// `POST /admin/replays/{id}/cancel`.
pub fn cancel(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let (run, of) = read(&call).await?;
        allow(&call, run.mode.as_str())?;
        if has_ended(run.state) {
            let state = run.state.as_str();
            let fault = Fault::category(decisiongraph_projections::Category::Conflict, format!("the job is {state}"));
            return Err(fault.detail("status", state));
        }
        let mut run =
            call.ask_for_the_route(CancelRunRequest { run_id: run.run_id, reason: None, of: of.clone() }).await?;
        let end = Instant::now() + CANCEL_WAIT;
        while !has_ended(run.state) && Instant::now() < end {
            tokio::time::sleep(LOOK_EVERY).await;
            run = call.ask_for_the_route(ReadRunRequest { run_id: run.run_id, of: of.clone() }).await?;
        }
        call.data(json!({ "run": objects::run(&run) }))
    }
    .boxed()
}
