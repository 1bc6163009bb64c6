//! The shortest way from a log to a projection, over any store: the engine's work, without its retries.

use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Changes, LogEvent, LogSeq, Projection, TenantId, sequence};
use decisiongraph_store::*;
use futures_util::StreamExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Creates a process with this name.
pub fn owner(node: &str) -> Owner {
    Owner { node: node.to_owned(), incarnation: Uuid::new_v4() }
}

/// Takes the scope, which must be free.
pub async fn acquire(store: &Arc<dyn Store>, scope: &Scope, owner: &Owner) -> (Lease, Position) {
    match store.acquire_scope(scope, owner).await.expect("an answer") {
        Acquisition::Acquired(lease, position) => (lease, position),
        Acquisition::Held { by, .. } => panic!("held by {by}"),
    }
}

/// A batch, computed and not yet committed.
pub struct Computed {
    pub from: LogSeq,
    pub to: LogSeq,
    pub changes: Changes,
    pub digest: RollingDigest,
}

impl Computed {
    pub fn batch<'a>(&'a self, projection: &'a dyn Projection) -> BatchCommit<'a> {
        BatchCommit {
            projection,
            from: self.from,
            to: self.to,
            changes: &self.changes,
            digest: &self.digest,
            skipped: &[],
            seal: None,
            checkpoint: false,
        }
    }
}

/// Computes the batch of these events.
pub async fn compute(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &'static dyn Projection,
    generation: Generation,
    position: &Position,
    events: &[LogEvent],
) -> Computed {
    let traces: BTreeSet<Arc<str>> = events.iter().map(|event| event.trace_id.clone()).collect();
    let heads = view.heads(tenant, &traces, position.cursor).await.expect("heads");
    assert_eq!(sequence::check_page(events, &heads, &Default::default()), None, "the log is sound");
    let needs = Arc::new(projection.needs(events));
    let prior = view.prior_rows(tenant, projection, generation, &needs, usize::MAX).await.expect("prior rows");
    let history = view.history(tenant, projection, &needs.history_of, position.cursor, usize::MAX).await;
    let mut prior = prior.expect("whatever they have");
    prior.history = history.expect("history").expect("whatever it has");
    let projected = projection.project(events, &needs, &prior);
    assert_eq!(projected.poison, None);
    let mut digest = position.digest.clone();
    digest.apply(projection.tables(), &projected.changes);
    let to = events.last().map_or(position.cursor, |event| event.log_seq);
    Computed { from: position.cursor, to, changes: projected.changes, digest }
}

/// Limit with which everything fits in one page.
pub const WHOLE: PageLimit = PageLimit::rows(1_000_000);

/// Moves a scope to the log's end, in batches of at most these sizes in turn. Returns its new position.
pub async fn catch_up(
    store: &Arc<dyn Store>,
    lease: &Lease,
    mut position: Position,
    projection: &'static dyn Projection,
    sizes: &[usize],
) -> Position {
    let tenant = &lease.scope.tenant;
    let view = store.view().await.expect("a view");
    for size in sizes.iter().cycle() {
        let limit = PageLimit::rows(*size);
        let events = view.page(tenant, position.cursor, LogSeq(i64::MAX), limit).await.expect("a page");
        if events.is_empty() {
            break;
        }
        let computed = compute(&*view, tenant, projection, lease.generation, &position, &events).await;
        store.commit(lease, &computed.batch(projection)).await.expect("a commit");
        position = Position { cursor: computed.to, digest: computed.digest, version: projection.version() };
    }
    position
}

/// Moves a build to the log's end.
pub async fn build(
    store: &Arc<dyn Store>,
    lease: &BuildLease,
    mut position: Position,
    projection: &'static dyn Projection,
    size: usize,
    batches_max: usize,
) -> Position {
    let tenant = &lease.scope.tenant;
    let view = store.view().await.expect("a view");
    let limit = PageLimit::rows(size);
    for _ in 0..batches_max {
        let events = view.page(tenant, position.cursor, LogSeq(i64::MAX), limit).await.expect("a page");
        if events.is_empty() {
            break;
        }
        let computed = compute(&*view, tenant, projection, lease.generation, &position, &events).await;
        store.commit_build(lease, &computed.batch(projection)).await.expect("a commit");
        position = Position { cursor: computed.to, digest: computed.digest, version: projection.version() };
    }
    position
}

/// Returns the origin of a projection.
pub fn origin(projection: &dyn Projection) -> Position {
    Position { cursor: LogSeq::ORIGIN, digest: RollingDigest::default(), version: projection.version() }
}

/// Collects all rows of a stream.
pub async fn collect(mut stream: RowStream) -> Vec<KeyedRow> {
    let mut rows = Vec::new();
    while let Some(chunk) = stream.next().await {
        rows.extend(chunk.expect("a chunk"));
    }
    rows
}

/// Collects all rows of a generation, table by table. The positions beside the rows are left out, because they depend
/// on the cuts between batches.
pub async fn all_rows(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
) -> Vec<Vec<KeyedRow>> {
    let mut tables = Vec::new();
    for table in 0..projection.tables().len() {
        let stream = view.rows(tenant, projection, generation, table, RowOrder::Text).await.expect("a stream");
        let rows = collect(stream).await.into_iter();
        tables.push(rows.map(|row| KeyedRow { since: Vec::new(), ..row }).collect());
    }
    tables
}

/// Appends the events and checks that every event is stored.
pub async fn append_all(
    store: &Arc<dyn Store>,
    tenant: &TenantId,
    events: &[decisiongraph_projections::Admitted],
) -> Vec<LogSeq> {
    let verdicts = store.append(tenant, events, AppendMode::AllOrNothing).await.expect("an append");
    verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Accepted { log_seq, .. } => log_seq,
            other => panic!("not stored: {other:?}"),
        })
        .collect()
}
