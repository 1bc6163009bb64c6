//! Events of the log: a trace, a stretch, an export.

use super::handler::{StoreAnswers, limit_in, tenant_or_default};
use super::status::STRAYS_MAX;
use decisiongraph_engine::queries::{self, Scanned, current_view};
use decisiongraph_projections::catalogue::{self, TRACE_SUMMARY};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{
    AdminError, Command, EVENTS_SCANNED_MAX, EventsReply, EventsRequest, ExportPageReply, ExportRequest,
    ExportStartReply, ExportStartRequest, Handle, TraceReply, TraceRequest,
};
use decisiongraph_store::{ReadView, Scope};
use std::time::Duration;

/// Longest wait of a read of the log for open appenders. Then it ends at the mark that is known.
const MARK_WAIT: Duration = Duration::from_secs(2);

/// Most events per page of an export.
pub const EXPORT_EVENTS_MAX: i64 = 1_000;

impl Handle<TraceRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: TraceRequest) -> Result<TraceReply, AdminError> {
        let tenant = tenant_or_default(request.tenant);
        let limit = self.event_page(limit_in(request.limit, queries::EVENTS_PAGE_MAX as i64)?);
        let current = match current_view(self.engine, &tenant, &[TRACE_SUMMARY], request.freshness).await {
            Ok(current) => current,
            Err(error) => {
                self.has_trace(&*self.store().view().await?, &tenant, &request.trace_id).await?;
                return Err(error.into());
            }
        };
        let summary =
            queries::trace_summary(&*current.view, &tenant, current.generations[0], &request.trace_id).await?;
        let (events, more) =
            queries::trace_events(&*current.view, &tenant, &request.trace_id, request.after, limit).await?;
        if events.is_empty() {
            self.has_trace(&*current.view, &tenant, &request.trace_id).await?;
        }
        Ok(TraceReply { tenant, stale: current.stale, rows: current.rows, summary, events, more })
    }
}

impl StoreAnswers<'_> {
    /// Fails with `not_found` when the trace has no event.
    async fn has_trace(&self, view: &dyn ReadView, tenant: &TenantId, trace_id: &str) -> Result<(), AdminError> {
        let first = self.event_page(1);
        if !queries::trace_events(view, tenant, trace_id, LogSeq::ORIGIN, first).await?.0.is_empty() {
            return Ok(());
        }
        let error = AdminError::new(Category::NotFound, format!("tenant `{tenant}` has no trace `{trace_id}`"));
        let events = Command::of("events", tenant);
        Err(error.next(format!("check the id: {events} lists what the log holds")))
    }
}

impl Handle<EventsRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: EventsRequest) -> Result<EventsReply, AdminError> {
        let EventsRequest { tenant, since_log_seq, until_log_seq, limit, event_id, filter } = request;
        let tenant = tenant_or_default(tenant);
        let limit = self.event_page(limit_in(limit, queries::EVENTS_PAGE_MAX as i64)?);
        if filter.actor_id.is_some() && filter.actor_type.is_none() {
            return Err(AdminError::new(Category::InvalidArgument, "actor_id needs actor_type"));
        }
        let mark = self.complete_to(&tenant).await?;
        let upto = until_log_seq.unwrap_or(mark).min(mark);
        let view = self.store().view().await?;
        let (since, id) = (since_log_seq, event_id.as_deref());
        let Scanned { events, to, more } =
            queries::events(&*view, &tenant, id, &filter, (since, upto), limit, EVENTS_SCANNED_MAX).await?;
        Ok(EventsReply { tenant, events, more, scanned_to: to, mark })
    }
}

impl StoreAnswers<'_> {
    /// Returns the position up to which the tenant's log is complete: the safe mark. A standby knows none, and neither
    /// does a process that begins while an appender is open. The furthest cursor of the tenant is then known to be
    /// safe: it was at or below the mark when it was committed.
    async fn complete_to(&self, tenant: &TenantId) -> Result<LogSeq, AdminError> {
        let mut complete = match self.engine.read_mark(MARK_WAIT).await {
            Ok(reading) if reading.waiting_for.is_empty() => return Ok(reading.mark.at),
            Ok(reading) => reading.mark.at,
            Err(standby) if standby.unfit => LogSeq::ORIGIN,
            Err(error) => return Err(error.into()),
        };
        let view = self.store().view().await?;
        for projection in catalogue::ALL {
            let scope = view.scope(&Scope::new(tenant, projection)).await?;
            complete = scope.map_or(complete, |scope| complete.max(scope.position.cursor));
        }
        Ok(complete)
    }
}

impl Handle<ExportStartRequest> for StoreAnswers<'_> {
    async fn answer(&self, _: ExportStartRequest) -> Result<ExportStartReply, AdminError> {
        let (mark, view) = (self.engine.mark().await?.at, self.store().view().await?);
        let (tenants, strays) = (view.tenants().await?, view.strays(STRAYS_MAX).await?);
        Ok(ExportStartReply { mark, tenants, strays })
    }
}

impl Handle<ExportRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ExportRequest) -> Result<ExportPageReply, AdminError> {
        let limit = self.event_page(limit_in(request.limit, EXPORT_EVENTS_MAX)?);
        let found = self.store().view().await?.events(&request.tenant, request.after, request.upto, limit).await?.items;
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
}
