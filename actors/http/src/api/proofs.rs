//! The state of projections, and what proves them: digests and the exported log.

use super::call::{Call, at, filter};
use super::fault::{Answered, Fault};
use super::objects;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::{
    CheckpointsRequest, DigestRequest, ExportRequest, ExportStartRequest, ListRequest, ReferenceDigestRequest,
    RunsRequest, StatusRequest, has_ended,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// Open jobs that are listed, at most.
const OPEN_RUNS_MAX: i64 = 100;
/// Recorded digests per projection without a limit.
const CHECKPOINTS: i64 = 20;
/// Events per page of an export.
const EXPORT_EVENTS: i64 = 1_000;

/// `GET /projections/health`.
pub fn health(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let tenant = call.tenant()?;
        let reference = match call.query.one("digests")? {
            None | Some("rolling") => false,
            Some("reference") => true,
            Some(_) => return Err(Fault::invalid("`digests` must be rolling or reference")),
        };
        let request = StatusRequest { filter: filter(Some(tenant.clone()), None), ..StatusRequest::default() };
        let status = call.ask_for_the_route(request).await?;
        let runs = ListRequest {
            tenant: Some(tenant.clone()),
            open_only: true,
            limit: OPEN_RUNS_MAX,
            ..ListRequest::default()
        };
        let runs = call.ask_for_the_route(RunsRequest(runs)).await?.runs;
        let digests = match reference {
            false => None,
            true => Some(call.ask(ReferenceDigestRequest { tenant: Some(tenant.clone()) }).await?),
        };
        let projections: Vec<Value> = status
            .scopes
            .iter()
            .map(|scope| {
                let updated = scope.cursor_age_seconds.and_then(before_now);
                let digest = digests.as_ref().and_then(|all| all.named().find(|(name, _)| *name == scope.projection));
                objects::projection(scope, updated, digest.map(|(_, digest)| digest))
            })
            .collect();
        let last = status.scopes.iter().map(|scope| scope.last_log_seq).max().unwrap_or(LogSeq::ORIGIN);
        let open: Vec<Value> = runs.iter().filter(|run| !has_ended(run.state)).map(objects::open_run).collect();
        let data = json!({
            "tenant_id": tenant,
            "event_log_last_seq": last,
            "projections": projections,
            "open_runs": open,
            "full_digest": digests.as_ref().map(|all| all.full_projection.as_str()),
        });
        Ok(at(call.data(data)?, last))
    }
    .boxed()
}

/// Returns the time so many seconds ago, RFC 3339.
fn before_now(seconds: f64) -> Option<String> {
    use time::format_description::well_known::Rfc3339;
    let ago = time::Duration::try_from(std::time::Duration::try_from_secs_f64(seconds.max(0.0)).ok()?).ok()?;
    let then = time::OffsetDateTime::now_utc().checked_sub(ago)?;
    then.replace_microsecond(then.microsecond()).ok()?.format(&Rfc3339).ok()
}

/// `GET /digests`.
pub fn digests(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        if call.query.switch("reference")? {
            let digests = call.ask(ReferenceDigestRequest { tenant: call.tenant.clone() }).await?;
            return Ok(at(call.reply(&digests)?, digests.last_log_seq));
        }
        let projection = call.query.one("projection")?.map(str::to_owned);
        let digests = call.ask(DigestRequest(filter(call.tenant.clone(), projection))).await?;
        call.reply(&digests)
    }
    .boxed()
}

/// `GET /checkpoints`.
pub fn checkpoints(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let projection = call.query.one("projection")?.map(str::to_owned);
        let limit = call.query.number("limit")?.unwrap_or(CHECKPOINTS);
        let of = filter(call.tenant.clone(), projection);
        let reply = call.ask(CheckpointsRequest { of, limit }).await?;
        call.reply(&reply)
    }
    .boxed()
}

/// `GET /export`: each event of the log up to the mark, as a line.
pub fn export(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let tenant = call.tenant()?;
        let upto = call.ask(ExportStartRequest).await?.mark;
        let after = call.query.position("since_log_seq")?.unwrap_or(LogSeq::ORIGIN);
        // The first page is read before the answer begins: a fault of it has a status.
        let first = page(&call, &tenant, after, upto).await?;
        let pages = futures_util::stream::unfold(Some((call, first)), move |state| {
            let tenant = tenant.clone();
            async move {
                let (call, (lines, last)) = state?;
                let text = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
                let Some(last) = last else { return Some((Ok(Bytes::from(text)), None)) };
                call.let_go();
                match page(&call, &tenant, last, upto).await {
                    Ok(next) => Some((Ok(Bytes::from(text)), Some((call, next)))),
                    // The connection is broken off: a client never takes half a log for the whole.
                    Err(fault) => Some((Err(std::io::Error::other(fault.message)), None)),
                }
            }
        });
        let mut response = Response::new(Body::from_stream(pages));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(at(response, upto))
    }
    .boxed()
}

type ExportPage = (Vec<String>, Option<LogSeq>);

async fn page(
    call: &Call,
    tenant: &decisiongraph_projections::TenantId,
    after: LogSeq,
    upto: LogSeq,
) -> Result<ExportPage, Fault> {
    let request = ExportRequest { tenant: tenant.clone(), named: false, after, upto, limit: EXPORT_EVENTS };
    let reply = call.ask(request).await?;
    if let Some((log_seq, fault)) = reply.faults.first() {
        return Err(Fault::category(
            decisiongraph_projections::Category::Storage,
            format!("the event at log_seq {log_seq} cannot be exported: {fault}"),
        ));
    }
    Ok((reply.lines, reply.last_log_seq))
}
