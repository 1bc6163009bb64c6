//! The rows of projections, and queries over the read models.

use crate::{Direction, Generation, KeyedRow, PageLimit, Paged, PrecedentFilter, PrecedentHit, Result, RowOrder};
use async_trait::async_trait;
use decisiongraph_projections::{LogSeq, Needs, Prior, Projection, Row, TenantId};
use futures_util::stream::BoxStream;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rows of a projection, in chunks.
pub type RowStream = BoxStream<'static, Result<Vec<KeyedRow>>>;

/// Reads rows of projections.
#[async_trait]
pub trait ReadRows {
    /// Answers the rows of [`Needs`] (not its history) in the given generation. None when they have more than
    /// `bytes_max` bytes. A row with an equal hash and a different text is `internal`: a collision.
    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> Result<Option<Prior>>;

    /// Streams all rows of table `table` (index) of a generation.
    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> Result<RowStream>;

    /// Lists rows of `dg_cg_edges` that touch one of these nodes, by the bytes of `edge_id`, behind `after_edge_id`.
    async fn edges_touching(
        &self,
        tenant: &TenantId,
        generation: Generation,
        nodes: &BTreeSet<String>,
        edge_types: Option<&[String]>,
        after_edge_id: Option<&str>,
        limit: PageLimit,
    ) -> Result<Paged<Row>>;

    /// Lists rows of `dg_cg_edges` of one node, by `log_seq`, `edge_id`, behind `after`.
    async fn edges_of(
        &self,
        tenant: &TenantId,
        generation: Generation,
        node_id: &str,
        direction: Direction,
        after: Option<(LogSeq, &str)>,
        limit: PageLimit,
    ) -> Result<Paged<Row>>;

    /// Lists finished traces that match, in the order of the reference, at most `bytes_max` bytes of them. The filter
    /// is already validated.
    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> Result<Paged<PrecedentHit>>;
}
