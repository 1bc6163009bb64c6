//! The rows of projections, and queries over the read models.

use crate::{
    Direction, Generation, KeyedRow, PageLimit, Paged, PrecedentFilter, PrecedentHit, Result, RowOrder, StoreError,
};
use async_trait::async_trait;
use decisiongraph_projections::{LogSeq, Needs, Prior, Projection, Row, TenantId};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

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

    /// Lists finished traces whose `last_log_seq` is below `before`, latest first, at most `limit`: that position, and
    /// the trace.
    async fn finishes(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        before: LogSeq,
        limit: usize,
    ) -> Result<Vec<(LogSeq, Arc<str>)>>;

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

/// Lets a stream run in a task of its own: it makes the next chunks while its user works on this one. At most two are
/// ahead. The task ends with its user.
pub(crate) fn ahead<T: Send + 'static>(mut chunks: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
    let (give, take) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        loop {
            let chunk = tokio::select! {
                () = give.closed() => return,
                chunk = chunks.next() => chunk,
            };
            let Some(chunk) = chunk else { return };
            if give.send(chunk).await.is_err() {
                return;
            }
        }
    });
    let taken = stream::unfold(Some((take, task)), async |state| {
        let (mut take, task) = state?;
        if let Some(chunk) = take.recv().await {
            return Some((chunk, Some((take, task))));
        }
        // Rows behind a panic must not be missing silently.
        let error = task.await.err()?;
        Some((Err(StoreError::internal(format!("a stream of rows failed: {error}"))), None))
    });
    Box::pin(taken.fuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_runs_ahead_gives_the_same_chunks_and_hides_no_panic() {
        let chunks = |count: u64| stream::iter((0..count).map(Ok::<u64, StoreError>));
        let all: Vec<_> = ahead(Box::pin(chunks(5))).collect().await;
        assert_eq!(all, (0..5).map(Ok).collect::<Vec<_>>());
        let failing = chunks(3).map(|chunk| if chunk == Ok(2) { panic!("a defect") } else { chunk });
        let all: Vec<_> = ahead(Box::pin(failing)).collect().await;
        assert_eq!(all[..2], [Ok(0), Ok(1)]);
        assert!(all[2].as_ref().is_err_and(|error| error.message.contains("a defect")), "{all:?}");
        let (made, mut counted) = mpsc::unbounded_channel();
        let mut endless = ahead(Box::pin(stream::repeat_with(move || Ok::<_, StoreError>(made.send(()).is_ok()))));
        endless.next().await.expect("a chunk").expect("made");
        drop(endless);
        let count = async { while counted.recv().await.is_some() {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), count).await.expect("the task ends with its user");
    }
}
