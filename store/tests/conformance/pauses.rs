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
    // A scope that never had an owner can be paused, too.
    let row = fresh.store.pause_scope(&scope(), "the mapping is wrong", "ann").await.expect("paused");
    let paused = row.paused.clone().expect("a pause");
    assert_eq!((paused.reason.as_str(), paused.by.as_str()), ("the mapping is wrong", "ann"));
    assert!(paused.at.ends_with('Z'), "{paused:?}");
    assert_eq!((row.owner, row.position), (None, crate::fold::origin(catalogue::CONTEXT_GRAPH)));
    let again = fresh.store.pause_scope(&scope(), "another reason", "bob").await.expect("paused");
    assert_eq!(again.paused, Some(paused.clone()), "the first reason stays");
    // Another process sees the pause, and so does every way to read a scope.
    let view = fresh.again().await.store.view().await.expect("a view");
    assert_eq!(view.scope(&scope()).await.expect("an answer").expect("a scope").paused, Some(paused.clone()));
    assert_eq!(view.scopes(None).await.expect("scopes")[0].paused, Some(paused));
    let counted = ScopeCounts { paused: 1, ..ScopeCounts::default() };
    assert_eq!(view.scope_counts().await.expect("counts"), counted);
    for _ in 0..2 {
        assert_eq!(fresh.store.resume_scope(&scope()).await.expect("resumed").paused, None);
    }
    let later = fresh.store.pause_scope(&scope(), "another reason", "bob").await.expect("paused");
    assert_eq!(later.paused.expect("a pause").by, "bob");
}

pub async fn a_pause_fences_the_writer_and_leaves_ownership_alone(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let me = owner("n");
    fresh.store.heartbeat(&me, std::time::Duration::from_secs(600)).await.expect("alive");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    let view = fresh.store.view().await.expect("a view");
    let before = view.scope(&scope()).await.expect("an answer").expect("a scope");
    let row = fresh.store.pause_scope(&scope(), "r", "ann").await.expect("paused");
    assert_eq!((row.owner.as_deref(), row.generation), (Some("n"), lease.generation));
    assert!(row.epoch.counter > lease.epoch.counter && row.epoch.token != lease.epoch.token, "{row:?}");
    assert_eq!((&row.position, &row.updated_at), (&before.position, &before.updated_at));
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    let projection = catalogue::CONTEXT_GRAPH;
    let computed = compute(&*view, &tenant(), projection, lease.generation, &position, &events).await;
    let fenced = fresh.store.commit(&lease, &computed.batch(projection)).await.expect_err("it has not seen the pause");
    assert_eq!(fenced.category, Category::Fenced);
    // A second pause fences no owner again; a new owner knows of the pause.
    fresh.store.pause_scope(&scope(), "r2", "bob").await.expect("paused");
    let (lease, _) = acquire(&fresh.store, &scope(), &me).await;
    fresh.store.commit(&lease, &computed.batch(projection)).await.expect("its owner may commit");
    // The pause survives a flip and a change of owner.
    let run = uuid();
    let build = fresh.store.begin_build(&scope(), run, Storage::Shared).await.expect("a build");
    fresh.store.commit_build(&build, &computed.batch(projection)).await.expect("built");
    fresh.store.finish_build(&build).await.expect("finished");
    assert!(matches!(fresh.store.flip(&build).await.expect("an answer"), Flip::Flipped { .. }));
    acquire(&fresh.store, &scope(), &me).await;
    fresh.store.leave(&me).await.expect("gone");
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.owner_live, row.paused.expect("a pause").reason.as_str()), (false, "r"));
}

pub async fn heads_page_by_tenant(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = owner("n");
    fresh.store.heartbeat(&me, std::time::Duration::from_secs(600)).await.expect("alive");
    for id in ["a", "b", "c", "d"] {
        for projection in catalogue::ALL {
            acquire(&fresh.store, &Scope::new(&crate::log::named(id), projection), &me).await;
        }
    }
    let paused = Scope::new(&crate::log::named("b"), catalogue::CONTEXT_GRAPH);
    fresh.store.pause_scope(&paused, "r", "ann").await.expect("paused");
    let view = fresh.store.view().await.expect("a view");
    let page = view.scope_heads(Some(&crate::log::named("a")), 2).await.expect("heads");
    let tenants: Vec<&str> = page.iter().map(|head| head.scope.tenant.as_str()).collect();
    assert_eq!(tenants, ["b", "b", "b", "c", "c", "c"]);
    for head in &page {
        let row = view.scope(&head.scope).await.expect("an answer").expect("a scope");
        assert_eq!((&head.owner, head.owner_live, head.epoch), (&row.owner, row.owner_live, row.epoch.counter));
        assert_eq!((head.cursor, head.paused.is_some()), (row.position.cursor, head.scope == paused));
        assert!((0.0..600.0).contains(&head.cursor_age_seconds), "{head:?}");
        assert_eq!(*head, ScopeHead { cursor_age_seconds: head.cursor_age_seconds, ..row.into() });
    }
    let other = Scope::new(&crate::log::named("never acquired"), catalogue::TRACE_SUMMARY);
    let row = view.scope(&paused).await.expect("an answer").expect("a scope");
    let digests = view.digests(&[other, paused]).await.expect("digests");
    assert_eq!(digests, [None, Some(row.position.digest)], "in the order of the scopes");
    assert_eq!(view.scope_heads(None, 100).await.expect("heads").len(), 4 * catalogue::ALL.len());
    assert_eq!(view.scope_heads(Some(&crate::log::named("d")), 2).await.expect("heads"), []);
    fresh.store.leave(&me).await.expect("gone");
    assert!(view.scope_heads(None, 1).await.expect("heads").iter().all(|head| !head.owner_live));
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}
