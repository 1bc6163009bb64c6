//! Skips of poison events, and their effect on a generation.

use crate::backend::Blank;
use crate::failures::poison;
use crate::fold::{acquire, append_all, catch_up, compute, owner};
use crate::log::{input, named, started, tenant, whole_trace};
use decisiongraph_projections::{Category, LogSeq, Projection, catalogue};
use decisiongraph_store::*;
use std::time::Duration;

const SUMMARY: &dyn Projection = catalogue::TRACE_SUMMARY;

fn scope() -> Scope {
    Scope::new(&tenant(), SUMMARY)
}

pub async fn the_event_of_an_open_failure_is_skipped_once(blank: Blank) {
    let fresh = blank.migrated().await;
    let later = fresh.store.record_failure(&poison(&tenant(), 7, "bad")).await.expect("recorded");
    let failure = fresh.store.record_failure(&poison(&tenant(), 3, "bad")).await.expect("recorded");
    let elsewhere = fresh.store.record_failure(&poison(&named("other"), 3, "bad")).await.expect("recorded");
    let skip = fresh.store.skip_event(failure.failure_id, "a known fault", "ann").await.expect("skipped");
    assert_eq!((&skip.tenant, skip.projection.as_str(), skip.log_seq), (&tenant(), "trace_summary", LogSeq(3)));
    assert_eq!((skip.event_id.as_str(), skip.trace_id.as_str()), ("e3", "t"));
    assert_eq!((skip.reason.as_str(), skip.skipped_by.as_str()), ("a known fault", "ann"));
    assert_eq!((skip.failure_id, skip.revoked_at.as_ref()), (failure.failure_id, None));
    assert!(skip.skipped_at.ends_with('Z'), "{skip:?}");
    let again = fresh.store.skip_event(failure.failure_id, "another reason", "bob").await.expect("skipped");
    assert_eq!(again, skip, "the first one stays");
    let missing = fresh.store.skip_event(99_999, "r", "ann").await.expect_err("no such failure");
    assert_eq!(missing.category, Category::NotFound);
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.skips(&scope()).await.expect("skips"), std::slice::from_ref(&skip));
    fresh.store.skip_event(later.failure_id, "r", "ann").await.expect("skipped");
    fresh.store.skip_event(elsewhere.failure_id, "r", "ann").await.expect("skipped");
    let positions: Vec<i64> = view.skips(&scope()).await.expect("skips").iter().map(|skip| skip.log_seq.0).collect();
    assert_eq!(positions, [3, 7], "of this scope, in the order of the log");
    let other = Scope::new(&tenant(), catalogue::CONTEXT_GRAPH);
    assert_eq!(view.skips(&other).await.expect("skips"), []);
    assert!(view.failure(failure.failure_id).await.expect("an answer").expect("a failure").resolved_at.is_none());
}

pub async fn a_resolved_failure_is_not_skipped(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let failure = fresh.store.record_failure(&poison(&tenant(), 3, "bad")).await.expect("recorded");
    let skipped = fresh.store.record_failure(&poison(&tenant(), 4, "bad")).await.expect("recorded");
    let skip = fresh.store.skip_event(skipped.failure_id, "r", "ann").await.expect("skipped");
    let (lease, position) = acquire(&fresh.store, &scope(), &owner("n")).await;
    catch_up(&fresh.store, &lease, position, SUMMARY, &[100]).await;
    let refused = fresh.store.skip_event(failure.failure_id, "r", "ann").await.expect_err("resolved");
    assert_eq!(refused.category, Category::Conflict);
    // The answer to a repeated command does not change when the cursor has passed.
    assert_eq!(fresh.store.skip_event(skipped.failure_id, "r", "ann").await.expect("skipped"), skip);
    let again = fresh.store.record_failure(&poison(&tenant(), 4, "again")).await.expect("recorded");
    let refused = fresh.store.skip_event(again.failure_id, "r", "ann").await.expect_err("skipped because of another");
    assert_eq!(refused.category, Category::Conflict);
}

pub async fn a_revoked_skip_holds_no_longer(blank: Blank) {
    let fresh = blank.migrated().await;
    let missing = fresh.store.revoke_skip(&scope(), LogSeq(3)).await.expect_err("none holds");
    assert_eq!(missing.category, Category::NotFound);
    let failure = fresh.store.record_failure(&poison(&tenant(), 3, "bad")).await.expect("recorded");
    let skip = fresh.store.skip_event(failure.failure_id, "r", "ann").await.expect("skipped");
    let revoked = fresh.store.revoke_skip(&scope(), LogSeq(3)).await.expect("revoked");
    assert!(revoked.revoked_at.is_some());
    assert_eq!(Skip { revoked_at: None, ..revoked }, skip);
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.skips(&scope()).await.expect("skips"), []);
    assert_eq!(
        fresh.store.revoke_skip(&scope(), LogSeq(3)).await.expect_err("none holds").category,
        Category::NotFound
    );
    let anew = fresh.store.skip_event(failure.failure_id, "after all", "bob").await.expect("skipped");
    assert_eq!((anew.reason.as_str(), anew.skipped_by.as_str()), ("after all", "bob"));
}

pub async fn skips_are_listed_newest_first(blank: Blank) {
    let fresh = blank.migrated().await;
    let mut skips = Vec::new();
    for (tenant, log_seq) in [(tenant(), 7), (named("other"), 3), (tenant(), 3)] {
        let failure = fresh.store.record_failure(&poison(&tenant, log_seq, "bad")).await.expect("recorded");
        skips.insert(0, fresh.store.skip_event(failure.failure_id, "known", "ann").await.expect("skipped"));
    }
    let view = fresh.store.view().await.expect("a view");
    let list = async |filter: ListFilter| view.all_skips(&filter).await.expect("skips").items;
    let all = ListFilter { limit: 10, ..ListFilter::default() };
    assert_eq!(list(all.clone()).await, skips);
    let first = view.all_skips(&ListFilter { limit: 1, ..all.clone() }).await.expect("skips");
    assert_eq!((first.items.as_slice(), first.more), (&skips[..1], true));
    let behind = ListFilter { before_skip: Some(skips[0].skip_id), limit: 2, ..all.clone() };
    let rest = view.all_skips(&behind).await.expect("skips");
    assert_eq!((rest.items.as_slice(), rest.more), (&skips[1..], false));
    assert_eq!(list(ListFilter { tenant: Some(named("other")), ..all.clone() }).await, skips[1..2]);
    assert_eq!(list(ListFilter { projection: Some("context_graph"), ..all.clone() }).await, []);
    let revoked = fresh.store.revoke_skip(&scope(), LogSeq(3)).await.expect("revoked");
    assert_eq!(list(ListFilter { open_only: true, ..all.clone() }).await, skips[1..]);
    assert_eq!(list(all).await, [std::slice::from_ref(&revoked), &skips[1..]].concat());
}

pub async fn a_batch_past_a_skip_makes_its_generation_deviate(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &[started("t"), input("t", 1, "i")]).await;
    let me = owner("n");
    fresh.store.heartbeat(&me, Duration::from_secs(600)).await.expect("alive");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    let view = fresh.store.view().await.expect("a view");
    let deviating = async || view.scope(&scope()).await.expect("an answer").map(|row| row.deviating).expect("a scope");
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    let first = compute(&*view, &tenant(), SUMMARY, lease.generation, &position, &events[..1]).await;
    // A fenced batch marks nothing.
    let skipped = [positions[1]];
    let past = BatchCommit { to: positions[1], skipped: &skipped, ..first.batch(SUMMARY) };
    let stale = BatchCommit { from: LogSeq(9), to: LogSeq(9), ..past };
    assert_eq!(fresh.store.commit(&lease, &stale).await.expect_err("a wrong cursor").category, Category::Fenced);
    assert!(!deviating().await);
    fresh.store.commit(&lease, &first.batch(SUMMARY)).await.expect("a commit");
    assert!(!deviating().await);
    let nothing = Default::default();
    let past = BatchCommit { from: positions[0], changes: &nothing, ..past };
    fresh.store.commit(&lease, &past).await.expect("a commit");
    assert!(deviating().await);
    let failure = fresh.store.record_failure(&poison(&named("other"), 3, "bad")).await.expect("recorded");
    let counted = ScopeCounts { open_failures: 1, deviating: 1, ..ScopeCounts::default() };
    assert_eq!(view.scope_counts().await.expect("counts"), counted, "{failure:?}");
    acquire(&fresh.store, &scope(), &me).await;
    assert!(deviating().await, "it is of the generation, not of the owner");
    // Builds carry their own mark, and a flip takes it over.
    for skips in [&[][..], &skipped, &[]] {
        let build = fresh.store.begin_build(&scope(), uuid::Uuid::new_v4(), Storage::Shared).await.expect("a build");
        let batch = BatchCommit { to: positions[1], skipped: skips, ..first.batch(SUMMARY) };
        fresh.store.commit_build(&build, &batch).await.expect("built");
        fresh.store.finish_build(&build).await.expect("finished");
        assert!(matches!(fresh.store.flip(&build).await.expect("an answer"), Flip::Flipped { .. }));
        assert_eq!(deviating().await, !skips.is_empty());
    }
}
