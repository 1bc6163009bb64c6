//! The shortest way from a log to a projection, over any store: the engine's work, without its retries.

use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::seal::chunk::{Unsealed, grow};
use decisiongraph_projections::seal::leaf::{Entry, Salts};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::sha256;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::seal::tree::Frontier;
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

/// Returns the salts of the event at this position: in a test, they are no secret.
pub fn salts_at(log_seq: LogSeq) -> Salts {
    Salts::of(&sha256(&[b"salts", &log_seq.0.to_be_bytes()]))
}

/// Returns the head of a tree with this frontier.
pub fn head_of(frontier: &Frontier) -> TreeHead {
    TreeHead { size: frontier.size(), root: frontier.root() }
}

/// Computes the growth of a tree by the next events behind a position, at most `size`. None at the log's end.
pub async fn growth(
    view: &dyn ReadView,
    tenant: &TenantId,
    tree: i64,
    frontier: &Frontier,
    after: LogSeq,
    size: usize,
) -> Option<SealBatch> {
    let limit = PageLimit::rows(size);
    let events = view.logged_events(tenant, after, LogSeq(i64::MAX), limit).await.expect("a page");
    let last = events.last()?.log_seq;
    let unsealed = events.iter().map(|event| {
        let salts = salts_at(event.log_seq);
        Unsealed { log_seq: event.log_seq, entry: Entry::of(&event.envelope(), &event.payload, &salts), salts }
    });
    let grown = grow(frontier.clone(), unsealed);
    Some(SealBatch { tree, origin: format!("test.local/{tenant}"), from: head_of(frontier), grown, last })
}

/// Commits the growth of a tree, with the cursor of its scope.
pub async fn commit_growth(store: &Arc<dyn Store>, lease: &Lease, from: LogSeq, batch: &SealBatch) -> Result<()> {
    let (changes, digest) = (Changes::default(), RollingDigest::default());
    let batch = BatchCommit {
        projection: SEAL,
        from,
        to: batch.last,
        changes: &changes,
        digest: &digest,
        checkpoint: false,
        skipped: &[],
        seal: Some(batch),
    };
    store.commit(lease, &batch).await
}

/// Seals the log behind a position to its end, in batches of at most these sizes in turn. Returns the batches.
pub async fn seal(
    store: &Arc<dyn Store>,
    lease: &Lease,
    tree: i64,
    mut frontier: Frontier,
    mut after: LogSeq,
    sizes: &[usize],
) -> Vec<SealBatch> {
    let view = store.view().await.expect("a view");
    let mut batches = Vec::new();
    for size in sizes.iter().cycle() {
        let batch = growth(&*view, &lease.scope.tenant, tree, &frontier, after, *size).await;
        let Some(batch) = batch else { break };
        commit_growth(store, lease, after, &batch).await.expect("a commit");
        (frontier, after) = (batch.grown.frontier.clone(), batch.last);
        batches.push(batch);
    }
    batches
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
