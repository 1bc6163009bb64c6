//! Finished traces that decided a similar case: validation of the arguments, and the look-up.

use decisiongraph_projections::TenantId;
use decisiongraph_protocol::query::{READ_BYTES_MAX, validate_precedents};
use decisiongraph_store::{Generation, Paged, PrecedentFilter, PrecedentHit, ReadView, Result};

/// Finds the finished traces that match, latest first, at most [`READ_BYTES_MAX`] of them.
pub async fn precedents(
    view: &dyn ReadView,
    tenant: &TenantId,
    summaries: Option<Generation>,
    precedents: Option<Generation>,
    filter: &PrecedentFilter,
) -> Result<Paged<PrecedentHit>> {
    validate_precedents(filter)?;
    match (summaries, precedents) {
        (Some(summaries), Some(precedents)) => {
            view.precedents(tenant, summaries, precedents, filter, READ_BYTES_MAX).await
        }
        _ => Ok(Paged::default()),
    }
}
