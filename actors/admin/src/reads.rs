//! Queries over the read models.

use super::handler::{StoreAnswers, tenant_or_default};
use decisiongraph_engine::queries::{self, EdgesPage, Subgraph, current_view};
use decisiongraph_projections::catalogue::{CONTEXT_GRAPH, PRECEDENT_INDEX, TRACE_SUMMARY};
use decisiongraph_projections::{Category, Projection, TenantId};
use decisiongraph_protocol::{
    AdminError, EdgesRequest, Handle, PrecedentsReply, PrecedentsRequest, ReadReply, SubgraphRequest, TracesPage,
    TracesRequest,
};
use decisiongraph_store::Paged;

impl Handle<SubgraphRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SubgraphRequest) -> Result<ReadReply<Subgraph>, AdminError> {
        let tenant = tenant_or_default(request.tenant);
        let current = current_view(self.engine, &tenant, &[CONTEXT_GRAPH], request.freshness).await?;
        let answer = queries::subgraph(&*current.view, &tenant, current.generations[0], &request.query).await?;
        if answer.nodes.is_empty() && current.stale.is_none() {
            return Err(no_node_of(&tenant, &request.query.node_id));
        }
        Ok(ReadReply { tenant, stale: current.stale, rows: current.rows, answer })
    }
}

impl Handle<EdgesRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: EdgesRequest) -> Result<ReadReply<EdgesPage>, AdminError> {
        let tenant = tenant_or_default(request.tenant);
        let current = current_view(self.engine, &tenant, &[CONTEXT_GRAPH], request.freshness).await?;
        let answer = queries::edges(&*current.view, &tenant, current.generations[0], &request.query).await?;
        let (generation, node) = (current.generations[0], &request.query.node_id);
        if answer.edges.is_empty()
            && current.stale.is_none()
            && !queries::has_node(&*current.view, &tenant, generation, node).await?
        {
            return Err(no_node_of(&tenant, node));
        }
        Ok(ReadReply { tenant, stale: current.stale, rows: current.rows, answer })
    }
}

impl Handle<PrecedentsRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: PrecedentsRequest) -> Result<ReadReply<PrecedentsReply>, AdminError> {
        let tenant = tenant_or_default(request.tenant);
        queries::validate_precedents(&request.query)?;
        let needed: [&'static dyn Projection; 2] = [TRACE_SUMMARY, PRECEDENT_INDEX];
        let current = current_view(self.engine, &tenant, &needed, request.freshness).await?;
        let [summaries, index] = [current.generations[0], current.generations[1]];
        let hits = queries::precedents(&*current.view, &tenant, summaries, index, &request.query).await?;
        let Paged { items: hits, more } = hits;
        Ok(ReadReply { tenant, stale: current.stale, rows: current.rows, answer: PrecedentsReply { hits, more } })
    }
}

impl Handle<TracesRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: TracesRequest) -> Result<ReadReply<TracesPage>, AdminError> {
        let tenant = tenant_or_default(request.tenant);
        request.query.validate()?;
        let needed: [&'static dyn Projection; 2] = [TRACE_SUMMARY, CONTEXT_GRAPH];
        let needed = if request.query.filter.involves.is_some() { &needed[..] } else { &needed[..1] };
        let current = current_view(self.engine, &tenant, needed, request.freshness).await?;
        let answer = queries::traces(&current, &tenant, &request.query).await?;
        Ok(ReadReply { tenant, stale: current.stale, rows: current.rows, answer })
    }
}

fn no_node_of(tenant: &TenantId, node_id: &str) -> AdminError {
    AdminError::new(Category::NotFound, format!("tenant `{tenant}` has no node `{node_id}`"))
        .next("check the id: it is TYPE:ID, such as trace:ID, entity:TYPE:ID or policy:ID:VERSION")
}
