//! Requests into replies: the one place where the command line and a node call the engine and the store.

use super::changes::{change_of, recorded};
use super::status::STRAYS_MAX;
use super::{append, changes, cluster, health, jobs, overview, status, steer, tenants, why};
use decisiongraph_engine::queries::{self, READ_BYTES_MAX, current_view};
use decisiongraph_engine::replay_failure::replay_failure;
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::catalogue::{self, CONTEXT_GRAPH, PRECEDENT_INDEX, TRACE_SUMMARY};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId};
use decisiongraph_protocol::*;
use decisiongraph_protocol::{AdminError, Asker, Command};
use decisiongraph_store::{ListFilter, PageLimit, Paged, Scope, Store};
use std::str::FromStr;
use uuid::Uuid;

/// Most events per page of an export.
pub const EXPORT_EVENTS_MAX: i64 = 1_000;
/// Most failures or runs per list.
const LIST_MAX: i64 = 10_000;

/// Answers one request of this asker. `control` cancels and follows a job.
pub async fn answer(
    engine: &Engine,
    asker: &Asker,
    request: AdminRequest,
    control: &Control,
) -> Result<AdminReply, AdminError> {
    let asked = tenants::settle(&**engine.store(), &request).await?;
    let (by, request) = (asker.name()?, with_run_id(request));
    let change = change_of(&request, Uuid::nil());
    let done = recorded(engine, &by, change, Box::pin(carry_out(engine, &by, request, control))).await;
    done.map_err(|error| asked.advise(error))
}

/// Gives a request for a rebuild the id of its run; other requests stay the same.
fn with_run_id(request: AdminRequest) -> AdminRequest {
    match request {
        AdminRequest::Rebuild(job) => {
            AdminRequest::Rebuild(JobRequest { run_id: Some(job.run_id.unwrap_or_else(Uuid::now_v7)), ..job })
        }
        other => other,
    }
}

/// Answers one request whose tenant is settled. `by` asked for it.
pub async fn carry_out(
    engine: &Engine,
    by: &str,
    request: AdminRequest,
    control: &Control,
) -> Result<AdminReply, AdminError> {
    let store = &**engine.store();
    Ok(match request {
        AdminRequest::Migrate => {
            let applied = store.migrate().await?;
            AdminReply::Migrated(MigrateReply { applied, schema: store.schema_status().await?.database })
        }
        AdminRequest::Append(request) => AdminReply::Appended(append::append(engine, request).await?),
        AdminRequest::CatchUp(request) => AdminReply::Job(jobs::catch_up(engine, request, control).await?),
        AdminRequest::Rebuild(request) => AdminReply::Job(jobs::rebuild(engine, request, control).await?),
        AdminRequest::RebuildCheck(request) => AdminReply::RebuildCheck(jobs::rebuild_check(store, request).await?),
        AdminRequest::Verify(request) => AdminReply::Job(jobs::verify(engine, request, control).await?),
        AdminRequest::Status(request) => {
            let all = status::status(store, &request.filter).await?;
            AdminReply::Status(overview::page(store, all, &request).await?)
        }
        AdminRequest::Health(filter) => AdminReply::Health(health::health(store, &filter).await?),
        AdminRequest::Why { filter, all } => {
            let mut status = status::status(store, &filter).await?;
            overview::measure(store, &mut status, all).await?;
            AdminReply::Why(why::why(&status, all))
        }
        AdminRequest::Digest(filter) => AdminReply::Digest(digest(store, filter).await?),
        AdminRequest::ReferenceDigest { tenant } => {
            let tenant = tenant_or_default(tenant);
            let view = store.snapshot().await?;
            AdminReply::ReferenceDigest(queries::reference_digests(&*view, &tenant).await?)
        }
        AdminRequest::Trace(request) => AdminReply::Trace(trace(engine, request).await?),
        AdminRequest::Events(request) => AdminReply::Events(events(engine, request).await?),
        AdminRequest::Subgraph(request) => {
            let tenant = tenant_or_default(request.tenant);
            let current = current_view(store, &tenant, &[CONTEXT_GRAPH], request.freshness).await?;
            let answer = queries::subgraph(&*current.view, &tenant, current.generations[0], &request.query).await?;
            if answer.nodes.is_empty() && current.stale.is_none() {
                return Err(no_node_of(&tenant, &request.query.node_id));
            }
            AdminReply::Subgraph(ReadReply { tenant, stale: current.stale, answer })
        }
        AdminRequest::Edges(request) => {
            let tenant = tenant_or_default(request.tenant);
            let current = current_view(store, &tenant, &[CONTEXT_GRAPH], request.freshness).await?;
            let answer = queries::edges(&*current.view, &tenant, current.generations[0], &request.query).await?;
            let (generation, node) = (current.generations[0], &request.query.node_id);
            if answer.edges.is_empty()
                && current.stale.is_none()
                && !queries::has_node(&*current.view, &tenant, generation, node).await?
            {
                return Err(no_node_of(&tenant, node));
            }
            AdminReply::Edges(ReadReply { tenant, stale: current.stale, answer })
        }
        AdminRequest::Precedents(request) => {
            let tenant = tenant_or_default(request.tenant);
            queries::validate_precedents(&request.query)?;
            let needed: [&'static dyn Projection; 2] = [TRACE_SUMMARY, PRECEDENT_INDEX];
            let current = current_view(store, &tenant, &needed, request.freshness).await?;
            let [summaries, index] = [current.generations[0], current.generations[1]];
            let hits = queries::precedents(&*current.view, &tenant, summaries, index, &request.query).await?;
            let Paged { items: hits, more } = hits;
            AdminReply::Precedents(ReadReply { tenant, stale: current.stale, answer: PrecedentsReply { hits, more } })
        }
        AdminRequest::Failures(request) => {
            let skips = request.skips;
            let before = behind(request.after.as_deref())?;
            let (filter, view) = (list_filter(request)?, store.view().await?);
            AdminReply::Failures(if skips {
                let Paged { items, more } = view.all_skips(&ListFilter { before_skip: before, ..filter }).await?;
                FailuresReply { failures: Vec::new(), skips: Some(items), more }
            } else {
                let Paged { items, more } = view.failures(&ListFilter { before_failure: before, ..filter }).await?;
                FailuresReply { failures: items, skips: None, more }
            })
        }
        AdminRequest::Failure { failure_id, replay, .. } => {
            let failure = store.view().await?.failure(failure_id).await?.ok_or_else(|| no_failure(failure_id))?;
            let replay = if replay { Some(replay_failure(store, failure_id).await?) } else { None };
            let skip = steer::skip_of(store, &failure).await?.map(Box::new);
            AdminReply::Failure(FailureReply { failure, replay, skip })
        }
        AdminRequest::Skip { failure_id, reason, revoke, .. } => {
            AdminReply::Skipped(steer::skip(engine, failure_id, &reason, revoke, by).await?)
        }
        AdminRequest::Pause { tenant, projection, reason } => {
            AdminReply::Steered(steer::pause(engine, ScopeFilter { tenant, projection }, &reason, by).await?)
        }
        AdminRequest::Resume { tenant, projection, .. } => {
            AdminReply::Steered(steer::resume(engine, ScopeFilter { tenant, projection }).await?)
        }
        AdminRequest::Retry { tenant, projection, .. } => {
            AdminReply::Job(steer::retry(engine, ScopeFilter { tenant, projection }, control).await?)
        }
        AdminRequest::Runs(request) => {
            let (before_run, view) = (behind(request.after.as_deref())?, store.view().await?);
            if let Some(run_id) = before_run {
                view.run(run_id).await?.ok_or_else(|| no_run(run_id))?;
            }
            let Paged { items: runs, more } = view.runs(&ListFilter { before_run, ..list_filter(request)? }).await?;
            AdminReply::Runs(RunsReply { runs, more })
        }
        AdminRequest::Run { run_id, .. } => {
            let run = store.view().await?.run(run_id).await?;
            AdminReply::Run(run.ok_or_else(|| no_run(run_id))?)
        }
        AdminRequest::ResumeRun { run_id, .. } => AdminReply::Job(jobs::resume(engine, run_id, control).await?),
        AdminRequest::CancelRun { run_id, .. } => {
            let cancelled = store.request_cancel(run_id).await;
            AdminReply::Run(cancelled.map_err(|error| jobs::unknown_run(error.into(), run_id))?)
        }
        AdminRequest::WatchRun { run_id, wait_ms } => {
            AdminReply::Watch(Box::new(jobs::watch_run(store, run_id, wait_ms).await?))
        }
        AdminRequest::Tree(_) | AdminRequest::Peer(_) => return Err(no_node()),
        AdminRequest::Cluster => AdminReply::Cluster(cluster::cluster(store).await?),
        AdminRequest::Cordon { node, draining, reason } => {
            AdminReply::Cluster(cluster::cordon(engine, &node, draining, &reason, by).await?)
        }
        AdminRequest::Uncordon { node, .. } => AdminReply::Cluster(cluster::uncordon(engine, &node).await?),
        AdminRequest::Tenants(request) => AdminReply::Tenants(tenants::list(store, request).await?),
        AdminRequest::Forget { node, .. } => AdminReply::Cluster(cluster::forget(engine, &node).await?),
        AdminRequest::Changes(request) => AdminReply::Changes(changes::changes(store, request).await?),
        AdminRequest::ExportStart => {
            let (mark, view) = (engine.mark().await?.at, store.view().await?);
            let (tenants, strays) = (view.tenants().await?, view.strays(STRAYS_MAX).await?);
            AdminReply::ExportStart(ExportStartReply { mark, tenants, strays })
        }
        AdminRequest::ExportPage(request) => AdminReply::ExportPage(export_page(engine, &request).await?),
    })
}

pub(super) fn no_failure(failure_id: i64) -> AdminError {
    AdminError::new(Category::NotFound, format!("there is no failure {failure_id}"))
        .next("`decisiongraph failures --all` lists them")
}

fn no_node_of(tenant: &TenantId, node_id: &str) -> AdminError {
    AdminError::new(Category::NotFound, format!("tenant `{tenant}` has no node `{node_id}`"))
        .next("check the id: it is TYPE:ID, such as trace:ID, entity:TYPE:ID or policy:ID:VERSION")
}

/// Makes the error for a request that only a running node can answer, where no node was asked.
pub fn no_node() -> AdminError {
    AdminError::new(Category::Unavailable, "no node was asked: only a running node has actors")
        .next("start one with `decisiongraph node`, and ask it without --database")
}

pub(super) fn no_run(run_id: Uuid) -> AdminError {
    AdminError::new(Category::NotFound, format!("there is no run {run_id}")).next("`decisiongraph runs` lists them")
}

pub(super) fn tenant_or_default(tenant: Option<TenantId>) -> TenantId {
    tenant.unwrap_or_default()
}

/// Finds the projection with this name; all when none was named.
pub(super) fn projections(name: Option<&str>) -> Result<Vec<&'static dyn Projection>, AdminError> {
    match name {
        None | Some("all") => Ok(catalogue::ALL.to_vec()),
        Some(name) => catalogue::find(name).map(|projection| vec![projection]).ok_or_else(|| {
            let names: Vec<_> = catalogue::ALL.iter().map(|projection| projection.name()).collect();
            AdminError::new(Category::InvalidArgument, format!("there is no projection `{name}`"))
                .next(format!("one of {}, or all", names.join(", ")))
        }),
    }
}

fn list_filter(request: ListRequest) -> Result<ListFilter, AdminError> {
    let projection = match request.projection.as_deref() {
        None | Some("all") => None,
        name => projections(name)?.first().map(|projection| projection.name()),
    };
    let limit = limit_in(request.limit, LIST_MAX)?;
    Ok(ListFilter { tenant: request.tenant, projection, open_only: request.open_only, limit, ..ListFilter::default() })
}

/// Parses the id behind which a list goes on.
fn behind<Id: FromStr>(after: Option<&str>) -> Result<Option<Id>, AdminError> {
    let id = after.map(|after| {
        after.parse().map_err(|_| {
            AdminError::new(Category::InvalidArgument, format!("`{after}` is no id of this list"))
                .next("give the last id of the page before; without --after the list begins anew")
        })
    });
    id.transpose()
}

pub(super) fn limit_in(limit: i64, limit_max: i64) -> Result<usize, AdminError> {
    if (1..=limit_max).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(AdminError::new(Category::InvalidArgument, format!("limit is 1 to {limit_max}, not {limit}")))
}

/// Limits a page to `rows_max` events, and to the memory that there is for them.
fn event_page(engine: &Engine, rows_max: usize) -> PageLimit {
    let event_bytes_max = engine.budget().read_event_bytes_max();
    PageLimit { event_bytes_max, ..PageLimit::of(rows_max, READ_BYTES_MAX) }
}

async fn digest(store: &dyn Store, filter: ScopeFilter) -> Result<DigestReply, AdminError> {
    let tenant = tenant_or_default(filter.tenant);
    let view = store.snapshot().await?;
    let mut digests = Vec::new();
    for projection in projections(filter.projection.as_deref())? {
        let row = view.scope(&Scope::new(&tenant, projection)).await?;
        let generation = row.as_ref().map(|row| row.generation);
        let deviating = row.as_ref().is_some_and(|row| row.deviating);
        let position = row.map(|row| row.position);
        let cursor = position.as_ref().map_or(LogSeq::ORIGIN, |position| position.cursor);
        let version = position.as_ref().map_or(projection.version(), |position| position.version);
        let digest = position.map_or_else(RollingDigest::default, |position| position.digest).to_text();
        let last_log_seq = view.last_log_seq(&tenant, Some(cursor)).await?;
        digests.push(ScopeDigest {
            projection: projection.name().to_owned(),
            cursor,
            last_log_seq,
            generation,
            version,
            digest,
            deviating,
        });
    }
    Ok(DigestReply { tenant, digests })
}

async fn trace(engine: &Engine, request: TraceRequest) -> Result<TraceReply, AdminError> {
    let store = &**engine.store();
    let tenant = tenant_or_default(request.tenant);
    let limit = event_page(engine, limit_in(request.limit, queries::EVENTS_PAGE_MAX as i64)?);
    let first = event_page(engine, 1);
    let known = queries::trace_events(&*store.view().await?, &tenant, &request.trace_id, LogSeq::ORIGIN, first).await?;
    if known.0.is_empty() {
        let error =
            AdminError::new(Category::NotFound, format!("tenant `{tenant}` has no trace `{}`", request.trace_id));
        let events = Command::of("events", &tenant);
        return Err(error.next(format!("check the id: {events} lists what the log holds")));
    }
    let current = current_view(store, &tenant, &[TRACE_SUMMARY], request.freshness).await?;
    let summary = queries::trace_summary(&*current.view, &tenant, current.generations[0], &request.trace_id).await?;
    let (events, more) =
        queries::trace_events(&*current.view, &tenant, &request.trace_id, request.after, limit).await?;
    Ok(TraceReply { tenant, stale: current.stale, summary, events, more })
}

async fn export_page(engine: &Engine, request: &ExportRequest) -> Result<ExportPageReply, AdminError> {
    let limit = event_page(engine, limit_in(request.limit, EXPORT_EVENTS_MAX)?);
    let found = engine.store().view().await?.events(&request.tenant, request.after, request.upto, limit).await?.items;
    let last_log_seq = found.last().map(|event| event.log_seq);
    let tenant = request.named.then_some(&request.tenant);
    let (mut lines, mut faults) = (Vec::with_capacity(found.len()), Vec::new());
    for event in found {
        match event.fault {
            None => lines.push(event.to_line(tenant)),
            Some(fault) => faults.push((event.log_seq, fault)),
        }
    }
    Ok(ExportPageReply { lines, last_log_seq, faults })
}

async fn events(engine: &Engine, request: EventsRequest) -> Result<EventsReply, AdminError> {
    let tenant = tenant_or_default(request.tenant);
    let limit = limit_in(request.limit, queries::EVENTS_PAGE_MAX as i64)?;
    let upto = request.until_log_seq.unwrap_or(LogSeq(i64::MAX));
    let view = engine.store().snapshot().await?;
    let page = view.events(&tenant, request.since_log_seq, upto, event_page(engine, limit)).await?;
    let events = page.items.into_iter().map(queries::EventRecord::from).collect();
    Ok(EventsReply { tenant, events, more: page.more })
}
