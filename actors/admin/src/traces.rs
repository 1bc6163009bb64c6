//! The list of traces.

use super::handler::{StoreAnswers, tenant_or_default};
use decisiongraph_engine::queries::{self, current_view};
use decisiongraph_projections::Projection;
use decisiongraph_projections::catalogue::{CONTEXT_GRAPH, TRACE_SUMMARY};
use decisiongraph_protocol::{AdminError, Handle, TracesReply, TracesRequest};

impl Handle<TracesRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: TracesRequest) -> Result<TracesReply, AdminError> {
        request.validate()?;
        let tenant = tenant_or_default(request.tenant.clone());
        let needed: [&'static dyn Projection; 2] = [TRACE_SUMMARY, CONTEXT_GRAPH];
        let needed = if request.filter.involves.is_some() { &needed[..] } else { &needed[..1] };
        let current = current_view(self.engine, &tenant, needed, request.freshness).await?;
        let (traces, next) = queries::traces(&current, &tenant, &request).await?;
        Ok(TracesReply { tenant, stale: current.stale, traces, next, upto: current.cursor })
    }
}
