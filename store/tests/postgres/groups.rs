//! Scopes that share a transaction: each keeps its own fence, and none suffers from another.

use crate::fold::{Computed, WHOLE, acquire, all_rows, append_all, commit_growth, compute, growth, owner};
use crate::log::{named, started, tenant, whole_trace};
use crate::raw::{Fresh, until};
use decisiongraph_projections::catalogue::CONTEXT_GRAPH as GRAPH;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::{Admitted, Category, LogSeq};
use decisiongraph_store::{
    Acquisition, AppendMode, FIRST_TREE, Lease, Result, Scope, SealBatch, StoreOptions, Verdict, digest_of_rows,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Tenants whose batches wait at the same time.
const TENANTS: usize = 12;

fn scope(index: usize) -> Scope {
    Scope::new(&named(&format!("t{index:02}")), GRAPH)
}

async fn one_session() -> Fresh {
    Fresh::with(StoreOptions { writers: 1, ..StoreOptions::default() }).await
}

/// Batches of as many tenants, computed and not committed.
struct Batches {
    fresh: Fresh,
    leases: Vec<Lease>,
    computed: Vec<Arc<Computed>>,
}

impl Batches {
    async fn new() -> Batches {
        let fresh = one_session().await;
        let view = fresh.store.view().await.expect("a view");
        let (mut leases, mut computed) = (Vec::new(), Vec::new());
        for index in 0..TENANTS {
            let scope = scope(index);
            append_all(&fresh.store, &scope.tenant, &whole_trace("t")).await;
            let (lease, position) = acquire(&fresh.store, &scope, &owner("me")).await;
            let events = view.page(&scope.tenant, LogSeq::ORIGIN, LogSeq(i64::MAX), WHOLE).await.expect("a page");
            let batch = compute(&*view, &scope.tenant, GRAPH, lease.generation, &position, &events).await;
            leases.push(lease);
            computed.push(Arc::new(batch));
        }
        drop(view);
        Batches { fresh, leases, computed }
    }

    fn commit(&self, index: usize) -> JoinHandle<Result<()>> {
        let (store, lease, batch) =
            (Arc::clone(&self.fresh.store), self.leases[index].clone(), Arc::clone(&self.computed[index]));
        tokio::spawn(async move { store.commit(&lease, &batch.batch(GRAPH)).await })
    }

    /// Commits the first batch, which waits for its row. `meanwhile` is done before it goes on: what it starts waits
    /// in the queue.
    async fn behind_the_first<T>(&self, meanwhile: impl AsyncFnOnce() -> T) -> T {
        let (blocker, watcher) = (self.fresh.client().await, self.fresh.client().await);
        let row = "BEGIN; SELECT FROM dg_scope WHERE tenant_id = 't00' FOR UPDATE";
        blocker.batch_execute(row).await.expect("holds the row");
        let first = self.commit(0);
        until("the first waits", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() \
                       AND query LIKE '%dg_commit_scope%'";
            watcher.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 1
        })
        .await;
        let done = meanwhile().await;
        // A task that was spawned is in the queue as soon as it ran for the first time.
        tokio::time::sleep(Duration::from_millis(100)).await;
        blocker.batch_execute("ROLLBACK").await.expect("lets go");
        first.await.expect("no panic").expect("commits");
        done
    }

    /// Counts the transactions that wrote the scopes of these tenants last.
    async fn transactions(&self, first: usize) -> i64 {
        let sql = "SELECT count(DISTINCT xmin::text) FROM dg_scope WHERE tenant_id >= $1";
        let from = scope(first).tenant;
        self.fresh.client().await.query_one(sql, &[&from.as_str()]).await.expect("a count").get(0)
    }

    /// True when the scope is where its batch ends, with the rows of its digest.
    async fn is_whole(&self, index: usize) -> bool {
        let view = self.fresh.store.view().await.expect("a view");
        let row = view.scope(&scope(index)).await.expect("an answer").expect("a scope");
        let digest = digest_of_rows(&*view, &row.scope.tenant, GRAPH, row.generation).await.expect("a digest");
        assert_eq!(row.position.digest, digest, "{index}: rows and digest are of one batch");
        row.position.cursor == self.computed[index].to && digest == self.computed[index].digest
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_wait_together_share_a_transaction() {
    let batches = Batches::new().await;
    let others =
        batches.behind_the_first(async || (1..TENANTS).map(|index| batches.commit(index)).collect::<Vec<_>>()).await;
    for other in others {
        other.await.expect("no panic").expect("commits");
    }
    assert_eq!(batches.transactions(1).await, 1);
    for index in 0..TENANTS {
        assert!(batches.is_whole(index).await, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_batch_and_a_corrupt_one_undo_only_themselves() {
    let batches = Batches::new().await;
    let Lease { generation, .. } = batches.leases[5];
    // Another process has taken scope 3; the rows of scope 5 are not what its batch was computed from.
    let epoch = "UPDATE dg_scope SET epoch = epoch + 1, epoch_token = gen_random_uuid() WHERE tenant_id = 't03'";
    let client = batches.fresh.client().await;
    client.batch_execute(epoch).await.expect("a new epoch");
    let row = &batches.computed[5].changes.tables[0].inserts[0];
    let key = GRAPH.tables()[0].identity(row);
    let stray = "INSERT INTO dg_cg_nodes_shared (tenant_id, generation, row_key, node_id, node_type, trace_id, log_seq, created_at) \
                 VALUES ('t05', $1, $2, 'n', 't', 't', 1, '')";
    client.execute(stray, &[&generation.0, &key.as_bytes()]).await.expect("a row");
    let others =
        batches.behind_the_first(async || (1..TENANTS).map(|index| batches.commit(index)).collect::<Vec<_>>()).await;
    for (index, other) in (1..).zip(others) {
        let answer = other.await.expect("no panic");
        match index {
            3 => assert_eq!(answer.expect_err("fenced").category, Category::Fenced),
            5 => assert!(answer.as_ref().is_err_and(|error| error.duplicate), "{answer:?}"),
            _ => assert_eq!(answer, Ok(()), "{index}"),
        }
    }
    let view = batches.fresh.store.view().await.expect("a view");
    for index in (0..TENANTS).filter(|index| *index != 5) {
        assert_eq!(batches.is_whole(index).await, index != 3, "{index}");
    }
    let left = all_rows(&*view, &scope(3).tenant, GRAPH, batches.leases[3].generation).await;
    assert!(left.iter().all(Vec::is_empty), "nothing of the fenced batch is left");
}

/// Counts the transactions that wrote the trees of these tenants last.
async fn transactions_of_trees(fresh: &Fresh) -> i64 {
    let sql = "SELECT count(DISTINCT xmin::text) FROM dg_seal WHERE size > 0";
    fresh.client().await.query_one(sql, &[]).await.expect("a count").get(0)
}

/// The trees of many tenants grow in one transaction, beside a batch of a projection. When one of them is another than
/// its batch grew from, that batch alone is refused, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn trees_share_a_transaction_and_one_that_differs_undoes_only_itself() {
    for differs in [None, Some(5)] {
        let batches = Batches::new().await;
        let fresh = &batches.fresh;
        let view = fresh.store.view().await.expect("a view");
        let mut works = Vec::new();
        for index in 1..TENANTS {
            let tenant = scope(index).tenant;
            let (lease, _) = acquire(&fresh.store, &Scope::new(&tenant, SEAL), &owner("me")).await;
            let batch = growth(&*view, &tenant, FIRST_TREE, &Frontier::default(), LogSeq::ORIGIN, 3).await;
            works.push((index, lease, batch.expect("events")));
        }
        if let Some(index) = differs {
            // Somebody began another tree: this batch does not begin one.
            let elsewhere = format!("t{index:02}");
            let client = fresh.client().await;
            let sql = "INSERT INTO dg_seal (tenant_id, tree, size, log_seq, origin, state, root, frontier) \
                       VALUES ($1, 1, 1, 1, '', 'open', sha256(''), sha256(''))";
            client.execute(sql, &[&elsewhere]).await.expect("a tree");
        }
        let commits = batches
            .behind_the_first(async || {
                let commit = |(index, lease, batch): (usize, Lease, SealBatch)| {
                    let store = Arc::clone(&fresh.store);
                    let commit = async move { commit_growth(&store, &lease, LogSeq::ORIGIN, &batch).await };
                    (index, tokio::spawn(commit))
                };
                works.into_iter().map(commit).collect::<Vec<_>>()
            })
            .await;
        for (index, commit) in commits {
            let answer = commit.await.expect("no panic");
            let conflict = differs == Some(index);
            assert_eq!(answer.err().map(|error| error.category), conflict.then_some(Category::Conflict), "{index}");
            let tenant = scope(index).tenant;
            let row = view.scope(&Scope::new(&tenant, SEAL)).await.expect("an answer").expect("a scope");
            let chunks = view.seal_chunks(&tenant, FIRST_TREE, 0, 9).await.expect("chunks");
            assert_eq!((row.position.cursor == LogSeq::ORIGIN, chunks.is_empty()), (conflict, conflict), "{index}");
        }
        if differs.is_none() {
            assert_eq!(transactions_of_trees(fresh).await, 1);
        }
    }
}

/// The pause comes while the batch waits, and takes a new epoch: the batch is fenced, and alone in that.
#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_paused_meanwhile_undoes_only_its_own_batch() {
    let batches = Batches::new().await;
    let others = batches
        .behind_the_first(async || {
            let others: Vec<_> = (1..TENANTS).map(|index| batches.commit(index)).collect();
            batches.fresh.again().await.pause_scope(&scope(4), "a test", "ann").await.expect("paused");
            others
        })
        .await;
    for (index, other) in (1..).zip(others) {
        match other.await.expect("no panic") {
            Ok(()) => assert_ne!(index, 4, "a paused scope applies nothing"),
            Err(error) => assert_eq!((index, error.category), (4, Category::Fenced), "{error:?}"),
        }
        assert_eq!(batches.is_whole(index).await, index != 4, "{index}");
    }
}

/// The row of one scope is locked by another session: its claim fails when its time is up, and alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_row_is_locked_fails_alone() {
    let soon = Duration::from_secs(2);
    let fresh = Fresh::with(StoreOptions { writers: 1, statement_timeout: soon, ..StoreOptions::default() }).await;
    for index in 0..TENANTS {
        append_all(&fresh.store, &scope(index).tenant, &whole_trace("t")).await;
        acquire(&fresh.store, &scope(index), &owner("gone")).await;
    }
    let blocker = fresh.client().await;
    // A takeover would end the session that wrote last, which is this store's own.
    blocker.batch_execute("UPDATE dg_scope SET writer_pid = NULL, writer_started = NULL").await.expect("no writer");
    blocker.batch_execute("BEGIN; SELECT FROM dg_scope WHERE tenant_id = 't04' FOR UPDATE").await.expect("holds it");
    let claims: Vec<_> = (0..TENANTS)
        .map(|index| {
            let store = Arc::clone(&fresh.store);
            tokio::spawn(async move { store.acquire_scope(&scope(index), &owner("next")).await })
        })
        .collect();
    for (index, claim) in claims.into_iter().enumerate() {
        let answer = claim.await.expect("no panic");
        assert_eq!(answer.is_err(), index == 4, "{index}: {answer:?}");
    }
    blocker.batch_execute("ROLLBACK").await.expect("lets go");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_undoes_no_batch_of_the_others() {
    let batches = Batches::new().await;
    let others = batches
        .behind_the_first(async || {
            let others: Vec<_> = (1..TENANTS).map(|index| batches.commit(index)).collect();
            tokio::time::sleep(Duration::from_millis(50)).await;
            others[1].abort();
            others
        })
        .await;
    for (index, other) in (1..).zip(others) {
        assert_eq!(other.await.is_err(), index == 2);
        assert!(index == 2 || batches.is_whole(index).await, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_wait_together_are_one_statement_and_each_has_its_own_answer() {
    let batches = Batches::new().await;
    let store = &batches.fresh.store;
    // Scope 2 has another owner with a running lease; the writer of scope 4 is another process's live session.
    // (A takeover from this store's own session would end it, with every lease.)
    let apart = "UPDATE dg_scope SET writer_pid = NULL, writer_started = NULL WHERE tenant_id IN ('t02', 't04')";
    batches.fresh.client().await.batch_execute(apart).await.expect("no writer");
    let (other, later) = (owner("other"), batches.fresh.again().await);
    store.heartbeat(&other, Duration::from_secs(60)).await.expect("lives");
    acquire(&later, &scope(2), &other).await;
    acquire(&later, &scope(4), &owner("gone")).await;
    let next = owner("next");
    let claims = batches
        .behind_the_first(async || {
            let claim = |index: usize| {
                let (store, next) = (Arc::clone(store), next.clone());
                tokio::spawn(async move { store.acquire_scope(&scope(index), &next).await })
            };
            (1..TENANTS).map(claim).collect::<Vec<_>>()
        })
        .await;
    for (index, claim) in (1..).zip(claims) {
        match claim.await.expect("no panic").expect("an answer") {
            Acquisition::Held { by, .. } => assert_eq!((index, by.as_str()), (2, "other")),
            Acquisition::Acquired(lease, position) => {
                assert_ne!(index, 2);
                assert_eq!((lease.scope, lease.owner.node.as_str()), (scope(index), "next"));
                assert_eq!(position.cursor, LogSeq::ORIGIN);
            }
        }
    }
    assert_eq!(batches.transactions(5).await, 1);
    let row = store.view().await.expect("a view").scope(&scope(4)).await.expect("an answer").expect("a scope");
    assert_eq!(row.owner.as_deref(), Some("next"));
    let fenced = batches.commit(1).await.expect("no panic").expect_err("the former epoch");
    assert_eq!(fenced.category, Category::Fenced);
}

/// Appends the first offer, which waits for the log; `offers` wait behind it. Returns their verdicts.
async fn behind_an_append(fresh: &Fresh, offers: Vec<(Vec<Admitted>, AppendMode)>) -> Vec<Vec<Verdict>> {
    let (blocker, watcher) = (fresh.client().await, fresh.client().await);
    blocker.batch_execute("BEGIN; LOCK TABLE dg_event_log IN SHARE MODE").await.expect("no appends");
    let append = |(events, mode): (Vec<Admitted>, AppendMode)| {
        let store = Arc::clone(&fresh.store);
        tokio::spawn(async move { store.append(&tenant(), &events, mode).await })
    };
    let first = append((vec![started("first")], AppendMode::Each));
    until("the first waits", || async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() \
                   AND query LIKE '%INSERT INTO dg_event_log%'";
        watcher.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 1
    })
    .await;
    let mut waiting = Vec::new();
    for offer in offers {
        waiting.push(append(offer));
        // It is in the queue, in this order, as soon as its task ran for the first time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    blocker.batch_execute("ROLLBACK").await.expect("lets go");
    first.await.expect("no panic").expect("appends");
    let mut verdicts = Vec::new();
    for offer in waiting {
        verdicts.push(offer.await.expect("no panic").expect("an answer"));
    }
    verdicts
}

/// Counts the transactions that stored the events of these traces.
async fn stored_in(fresh: &Fresh, traces: &str) -> (i64, i64) {
    let sql = "SELECT count(DISTINCT xmin::text), count(*) FROM dg_event_log WHERE trace_id LIKE $1";
    let row = fresh.client().await.query_one(sql, &[&traces]).await.expect("a count");
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_that_wait_together_share_a_statement_and_may_continue_each_other() {
    let fresh = one_session().await;
    let mut offers = vec![];
    for trace in 0..4 {
        for event in whole_trace(&format!("shared-{trace}")) {
            offers.push((vec![event], AppendMode::AllOrNothing));
        }
    }
    let many = offers.len();
    let verdicts = behind_an_append(&fresh, offers).await;
    let positions: Vec<i64> = verdicts
        .iter()
        .map(|verdicts| match verdicts.as_slice() {
            [Verdict::Accepted { log_seq, .. }] => log_seq.0,
            other => panic!("not stored: {other:?}"),
        })
        .collect();
    assert!(positions.is_sorted(), "in the order of the offers: {positions:?}");
    assert_eq!(stored_in(&fresh, "shared-%").await, (1, many as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_append_takes_no_other_with_it() {
    let fresh = one_session().await;
    let whole = whole_trace("good");
    let (first, second) = (whole[0].clone(), whole[1].clone());
    let gap = whole_trace("gap")[2].clone();
    let torn = whole_trace("torn");
    let offers = vec![
        (vec![first.clone()], AppendMode::Each),
        (vec![gap.clone()], AppendMode::Each),
        (vec![torn[0].clone(), torn[2].clone()], AppendMode::AllOrNothing),
        (vec![torn[1].clone()], AppendMode::Each),
        (vec![second], AppendMode::AllOrNothing),
        (vec![first], AppendMode::Each),
    ];
    let verdicts = behind_an_append(&fresh, offers).await;
    let stored = |verdict: &Verdict| matches!(verdict, Verdict::Accepted { .. });
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
    assert!(stored(&verdicts[0][0]) && stored(&verdicts[4][0]), "{verdicts:?}");
    assert!(refused(&verdicts[1][0]), "{verdicts:?}");
    assert!(verdicts[2][0] == Verdict::NotStored && refused(&verdicts[2][1]), "{verdicts:?}");
    assert!(refused(&verdicts[3][0]), "it counts on an event that is not stored: {verdicts:?}");
    assert!(matches!(verdicts[5][0], Verdict::Repeated { .. }), "{verdicts:?}");
    assert_eq!(stored_in(&fresh, "%").await.1, 3, "the first, and two of the good trace");
}
