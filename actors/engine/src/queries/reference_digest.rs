//! The reference digests of a tenant: SHA-256 over every row of the projections that the reference has too, in one
//! snapshot.

use crate::page::pure;
use decisiongraph_projections::catalogue;
use decisiongraph_projections::digest::reference::{ReferenceForm, Writer, full_projection};
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId};
use decisiongraph_protocol::query::{ByName, ReferenceDigests};
use decisiongraph_store::{Generation, ReadView, Result, RowOrder, Scope, StoreError};
use futures_util::StreamExt as _;

/// Computes the digests of what the tenant's readers see now. The view must be a snapshot.
///
/// # Errors
/// `projection_out_of_date` when the projections are not at the same event.
pub async fn reference_digests(view: &dyn ReadView, tenant: &TenantId) -> Result<ReferenceDigests> {
    let mut positions = Vec::new();
    for (projection, form) in catalogue::with_reference() {
        let row = view.scope(&Scope::new(tenant, projection)).await?;
        let cursor = row.as_ref().map_or(LogSeq::ORIGIN, |row| row.position.cursor);
        // Two cursors are the same place when none of the tenant's events lies between them.
        let last = view.last_log_seq(tenant, Some(cursor)).await?;
        positions.push((projection, form, row.map(|row| row.generation), cursor, last));
    }
    let last_log_seq = positions.first().map_or(LogSeq::ORIGIN, |(.., last)| *last);
    if positions.iter().any(|(.., last)| *last != last_log_seq) {
        let places: Vec<_> =
            positions.iter().map(|(projection, _, _, cursor, _)| format!("{} {cursor}", projection.name())).collect();
        return Err(StoreError::new(
            Category::ProjectionOutOfDate,
            format!("the projections of {tenant} are at different events: {}", places.join(", ")),
        ));
    }
    let mut digests = Vec::new();
    for (projection, form, generation, ..) in positions {
        let digest = reference_digest(view, tenant, projection, form, generation).await?;
        digests.push((projection.name().to_owned(), digest));
    }
    let full_projection = full_projection(digests.iter().map(|(_, digest)| digest.as_str()));
    Ok(ReferenceDigests { projections: ByName(digests), full_projection, last_log_seq })
}

async fn reference_digest(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &'static dyn Projection,
    form: ReferenceForm,
    generation: Option<Generation>,
) -> Result<String> {
    let mut writer = Writer::new(form);
    for _ in form {
        let table = writer.section().table;
        let Some(generation) = generation else { continue };
        let mut rows = view.rows(tenant, projection, generation, table, RowOrder::Text).await?;
        while let Some(chunk) = rows.next().await {
            let chunk = chunk?;
            writer = pure(move || {
                chunk.iter().for_each(|row| writer.row(&row.row));
                writer
            })
            .await?;
        }
    }
    Ok(writer.finish())
}
