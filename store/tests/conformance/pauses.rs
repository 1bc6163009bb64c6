//! Pauses: durable, and without effect on ownership.

use crate::backend::Blank;
use crate::fold::{acquire, append_all, compute, owner};
use crate::log::{started, tenant};
use decisiongraph_projections::{Category, LogSeq, catalogue};
use decisiongraph_store::*;

fn scope() -> Scope {
    Scope::new(&tenant(), catalogue::CONTEXT_GRAPH)
}

pub async fn a_pause_stays_until_it_is_resumed(blank: Blank) {
    let fresh = blank.migrated().await;
    let missing = fresh.store.resume_scope(&scope()).await.expect_err("there is no scope");
    assert_eq!(missing.category, Category::NotFound);
    // Of a scope that nobody ever owned, too.
    let row = fresh.store.pause_scope(&scope(), "the mapping is wrong", "ann").await.expect("paused");
    let paused = row.paused.clone().expect("a pause");
    assert_eq!((paused.reason.as_str(), paused.by.as_str()), ("the mapping is wrong", "ann"));
    assert!(paused.at.ends_with('Z'), "{paused:?}");
    assert_eq!((row.owner, row.position), (None, crate::fold::origin(catalogue::CONTEXT_GRAPH)));
    let again = fresh.store.pause_scope(&scope(), "another reason", "bob").await.expect("paused");
    assert_eq!(again.paused, Some(paused.clone()), "the first reason stays");
    // Another process sees it, and so does every way to read a scope.
    let view = fresh.again().await.store.view().await.expect("a view");
    assert_eq!(view.scope(&scope()).await.expect("an answer").expect("a scope").paused, Some(paused.clone()));
    assert_eq!(view.scopes(None).await.expect("scopes")[0].paused, Some(paused));
    for _ in 0..2 {
        assert_eq!(fresh.store.resume_scope(&scope()).await.expect("resumed").paused, None);
    }
    let later = fresh.store.pause_scope(&scope(), "another reason", "bob").await.expect("paused");
    assert_eq!(later.paused.expect("a pause").by, "bob");
}

pub async fn a_pause_leaves_ownership_and_batches_alone(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let me = owner("n");
    fresh.store.heartbeat(&me, std::time::Duration::from_secs(600)).await.expect("alive");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    let view = fresh.store.view().await.expect("a view");
    let before = view.scope(&scope()).await.expect("an answer").expect("a scope");
    let row = fresh.store.pause_scope(&scope(), "r", "ann").await.expect("paused");
    assert_eq!((row.owner.as_deref(), row.epoch, row.generation), (Some("n"), lease.epoch, lease.generation));
    assert_eq!((&row.position, &row.updated_at), (&before.position, &before.updated_at));
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    let projection = catalogue::CONTEXT_GRAPH;
    let computed = compute(&*view, &tenant(), projection, lease.generation, &position, &events).await;
    fresh.store.commit(&lease, &computed.batch(projection)).await.expect("its owner may still commit");
    // It survives a flip and a change of owner.
    let run = uuid();
    let build = fresh.store.begin_build(&scope(), run, Storage::Shared).await.expect("a build");
    fresh.store.commit_build(&build, &computed.batch(projection)).await.expect("built");
    fresh.store.finish_build(&build).await.expect("finished");
    assert!(matches!(fresh.store.flip(&build).await.expect("an answer"), Flip::Flipped { .. }));
    acquire(&fresh.store, &scope(), &me).await;
    fresh.store.leave(&me).await.expect("gone");
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.owner, row.paused.expect("a pause").reason.as_str()), (None, "r"));
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}
