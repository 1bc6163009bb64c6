//! Poison events.

use crate::backend::Blank;
use crate::fold::{acquire, append_all, catch_up, owner};
use crate::log::{named, tenant, whole_trace};
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId, catalogue};
use decisiongraph_store::*;

pub fn poison(tenant: &TenantId, log_seq: i64, message: &str) -> NewFailure {
    NewFailure {
        scope: Scope::new(tenant, catalogue::TRACE_SUMMARY),
        log_seq: LogSeq(log_seq),
        event_id: format!("e{log_seq}"),
        trace_id: "t".to_owned(),
        event_type: "PolicyEvaluated".to_owned(),
        refusal: Refusal::new(Category::SchemaViolation, message),
        batch_from: LogSeq(log_seq - 1),
        batch_to: LogSeq(log_seq + 5),
        digest_before: "lthash:0".to_owned(),
    }
}

fn filter() -> ListFilter {
    ListFilter { limit: 100, ..ListFilter::default() }
}

pub async fn one_open_row_an_event(blank: Blank) {
    let fresh = blank.migrated().await;
    let first = fresh.store.record_failure(&poison(&tenant(), 3, "bad")).await.expect("recorded");
    assert_eq!((first.attempts, first.category, first.message.as_str()), (1, Category::SchemaViolation, "bad"));
    assert_eq!((first.log_seq, first.batch_from, first.batch_to), (LogSeq(3), LogSeq(2), LogSeq(8)));
    assert_eq!((first.resolved_at.as_ref(), first.projection.as_str()), (None, "trace_summary"));
    let second = fresh.store.record_failure(&poison(&tenant(), 3, "still bad")).await.expect("recorded");
    assert_eq!((second.failure_id, second.attempts, second.message.as_str()), (first.failure_id, 2, "still bad"));
    assert_eq!(second.first_seen_at, first.first_seen_at);
    let other = fresh.store.record_failure(&poison(&named("other"), 3, "bad")).await.expect("recorded");
    assert_ne!(other.failure_id, first.failure_id);
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.failure(first.failure_id).await.expect("an answer"), Some(second));
    assert_eq!(view.failure(first.failure_id + 1_000).await.expect("an answer"), None);
}

pub async fn open_failures_are_one_entry_a_scope(blank: Blank) {
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.open_failures(None).await.expect("none"), []);
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let mut ids = Vec::new();
    for log_seq in [7, 3, 5] {
        ids.push(fresh.store.record_failure(&poison(&tenant(), log_seq, "bad")).await.expect("recorded").failure_id);
    }
    let mut other = poison(&named("z"), 9, "bad");
    let of_other = fresh.store.record_failure(&other).await.expect("recorded").failure_id;
    other.scope = Scope::new(&named("z"), catalogue::CONTEXT_GRAPH);
    let of_graph = fresh.store.record_failure(&other).await.expect("recorded").failure_id;
    let entry = |tenant: TenantId, projection: &str, count, failure_id, log_seq: i64| OpenFailures {
        tenant,
        projection: projection.to_owned(),
        count,
        failure_id,
        log_seq: LogSeq(log_seq),
        event_id: format!("e{log_seq}"),
        category: Category::SchemaViolation,
    };
    let ours = entry(tenant(), "trace_summary", 3, ids[1], 3);
    let theirs =
        [entry(named("z"), "context_graph", 1, of_graph, 9), entry(named("z"), "trace_summary", 1, of_other, 9)];
    let all = view.open_failures(None).await.expect("failures");
    assert_eq!((&all[0], &all[1..]), (&ours, &theirs[..]));
    assert_eq!(view.open_failures(Some(&named("z"))).await.expect("failures"), theirs);
    // A passed event's failure is resolved, and the next one is the first.
    let projection = catalogue::TRACE_SUMMARY;
    let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &owner("n")).await;
    catch_up(&fresh.store, &lease, position, projection, &[100]).await;
    assert_eq!(
        view.open_failures(Some(&tenant())).await.expect("one"),
        [entry(tenant(), "trace_summary", 1, ids[0], 7)]
    );
}

pub async fn a_passing_commit_resolves(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let projection = catalogue::TRACE_SUMMARY;
    for log_seq in [3, 5, 6] {
        fresh.store.record_failure(&poison(&tenant(), log_seq, "bad")).await.expect("recorded");
    }
    fresh.store.record_failure(&poison(&named("other"), 3, "bad")).await.expect("recorded");
    let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &owner("n")).await;
    let view = fresh.store.view().await.expect("a view");
    let open = async || {
        let filter = ListFilter { tenant: Some(tenant()), open_only: true, ..filter() };
        let open = view.failures(&filter).await.expect("failures").items;
        open.into_iter().map(|failure| failure.log_seq.0).collect::<Vec<_>>()
    };
    assert_eq!(open().await, [6, 5, 3]);
    catch_up(&fresh.store, &lease, position, projection, &[100]).await;
    assert_eq!(open().await, [6], "those at or below the cursor 5 are resolved");
    let resolved = &view.failures(&ListFilter { tenant: Some(tenant()), ..filter() }).await.expect("failures").items[1];
    assert!(resolved.resolved_at.is_some(), "{resolved:?}");
    let others = ListFilter { tenant: Some(named("other")), open_only: true, ..filter() };
    assert_eq!(view.failures(&others).await.expect("failures").items.len(), 1, "another tenant's stays open");
    // The same event may fail again later: that is a new row.
    let again = fresh.store.record_failure(&poison(&tenant(), 3, "again")).await.expect("recorded");
    assert_eq!(again.attempts, 1);
    assert_eq!(open().await, [3, 6]);
}

pub async fn failures_are_listed_newest_first(blank: Blank) {
    let fresh = blank.migrated().await;
    for log_seq in [1, 2, 3] {
        fresh.store.record_failure(&poison(&tenant(), log_seq, "bad")).await.expect("recorded");
    }
    let mut elsewhere = poison(&tenant(), 4, "bad");
    elsewhere.scope = Scope::new(&tenant(), catalogue::CONTEXT_GRAPH);
    fresh.store.record_failure(&elsewhere).await.expect("recorded");
    let view = fresh.store.view().await.expect("a view");
    let list = async |filter: ListFilter| {
        let failures = view.failures(&filter).await.expect("failures").items;
        failures.into_iter().map(|failure| failure.log_seq.0).collect::<Vec<_>>()
    };
    assert_eq!(list(filter()).await, [4, 3, 2, 1]);
    assert_eq!(list(ListFilter { limit: 2, ..filter() }).await, [4, 3]);
    let last = view.failures(&ListFilter { limit: 2, ..filter() }).await.expect("failures").items[1].failure_id;
    assert_eq!(list(ListFilter { before_failure: Some(last), ..filter() }).await, [2, 1], "the page behind it");
    assert_eq!(list(ListFilter { projection: Some("context_graph"), ..filter() }).await, [4]);
    assert_eq!(list(ListFilter { tenant: Some(named("nobody")), ..filter() }).await, [0i64; 0]);
}
