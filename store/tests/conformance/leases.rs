//! Ownership: owners of scopes, and changes of ownership.

use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, append_all, catch_up, compute, owner};
use crate::log::{input, named, started, tenant};
use decisiongraph_projections::{Category, LogSeq, catalogue};
use decisiongraph_store::*;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn scope() -> Scope {
    Scope::new(&tenant(), catalogue::CONTEXT_GRAPH)
}

async fn held(fresh: &Fresh, scope: &Scope, owner: &Owner) -> Option<(String, Duration)> {
    match fresh.store.acquire_scope(scope, owner).await.expect("an answer") {
        Acquisition::Acquired(..) => None,
        Acquisition::Held { by, expires_in } => Some((by, expires_in)),
    }
}

async fn row(fresh: &Fresh, scope: &Scope) -> ScopeRow {
    let view = fresh.store.view().await.expect("a view");
    view.scope(scope).await.expect("an answer").expect("a scope")
}

pub async fn a_scope_is_made_at_the_origin(blank: Blank) {
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.scope(&scope()).await.expect("an answer"), None);
    let me = owner("n1");
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    assert_eq!(position, crate::fold::origin(catalogue::CONTEXT_GRAPH));
    let stored = row(&fresh, &scope()).await;
    assert_eq!(stored.owner.as_deref(), Some("n1"));
    assert!(stored.owner_live);
    assert_eq!((stored.epoch, stored.generation), (lease.epoch, lease.generation));
    assert!(stored.cursor_age_seconds >= 0.0 && stored.updated_at.ends_with('Z'), "{stored:?}");
    // Scopes are ordered by tenant, then by the catalogue.
    for tenant in ["z", "Z"] {
        for projection in [catalogue::PRECEDENT_INDEX, catalogue::TRACE_SUMMARY] {
            acquire(&fresh.store, &Scope::new(&named(tenant), projection), &me).await;
        }
    }
    let scopes: Vec<String> =
        view.scopes(None).await.expect("scopes").into_iter().map(|row| row.scope.to_string()).collect();
    assert_eq!(
        scopes,
        ["Z/trace_summary", "Z/precedent_index", "default/context_graph", "z/trace_summary", "z/precedent_index"]
    );
    assert_eq!(view.scopes(Some(&named("z"))).await.expect("scopes").len(), 2);
    let generations: std::collections::HashSet<_> =
        view.scopes(None).await.expect("scopes").into_iter().map(|row| row.generation).collect();
    assert_eq!(generations.len(), 5, "a generation is unique in the database");
}

pub async fn a_live_owner_keeps_its_scope(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    fresh.store.heartbeat(&you, LONG).await.expect("alive");
    acquire(&fresh.store, &scope(), &me).await;
    let (by, expires_in) = held(&fresh, &scope(), &you).await.expect("held");
    assert_eq!(by, "n1");
    assert!(expires_in <= LONG && expires_in > LONG / 2, "{expires_in:?}");
    // Another projection of the tenant is another scope.
    let other = Scope::new(&tenant(), catalogue::TRACE_SUMMARY);
    assert_eq!(held(&fresh, &other, &you).await, None);
}

pub async fn a_dead_owner_is_taken_over(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    fresh.store.heartbeat(&you, LONG).await.expect("alive");
    let (mine, position) = acquire(&fresh.store, &scope(), &me).await;
    let position = catch_up(&fresh.store, &mine, position, catalogue::CONTEXT_GRAPH, &[10]).await;
    fresh.store.heartbeat(&me, Duration::ZERO).await.expect("over at once");
    assert!(!row(&fresh, &scope()).await.owner_live);
    let (yours, found) = acquire(&fresh.store, &scope(), &you).await;
    assert_eq!(found, position, "the position is where it was left");
    assert!(yours.epoch.counter > mine.epoch.counter);
    assert_ne!(yours.epoch.token, mine.epoch.token);
    assert_eq!(row(&fresh, &scope()).await.owner.as_deref(), Some("n2"));
    assert_eq!((mine.taken_from.as_deref(), yours.taken_from.as_deref()), (None, Some("n1")));
    // A scope that was handed over, or is taken again by its owner, counts as taken from no owner.
    assert_eq!(acquire(&fresh.store, &scope(), &you).await.0.taken_from, None);
    fresh.store.leave(&you).await.expect("handed over");
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    assert_eq!(acquire(&fresh.store, &scope(), &me).await.0.taken_from, None);
}

pub async fn the_same_owner_takes_a_new_epoch(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let me = owner("n1");
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    let (first, position) = acquire(&fresh.store, &scope(), &me).await;
    let (second, _) = acquire(&fresh.store, &scope(), &me).await;
    assert!(second.epoch.counter > first.epoch.counter);
    let view = fresh.store.view().await.expect("a view");
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    let projection = catalogue::CONTEXT_GRAPH;
    let computed = compute(&*view, &tenant(), projection, first.generation, &position, &events).await;
    let fenced = fresh.store.commit(&first, &computed.batch(projection)).await.expect_err("an old epoch");
    assert_eq!(fenced.category, Category::Fenced);
    fresh.store.commit(&second, &computed.batch(projection)).await.expect("the new one");
}

pub async fn a_released_scope_is_free(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    let (lease, _) = acquire(&fresh.store, &scope(), &me).await;
    fresh.store.release_scope(&lease).await.expect("released");
    assert_eq!(row(&fresh, &scope()).await.owner, None);
    assert_eq!(held(&fresh, &scope(), &you).await, None);
}

pub async fn a_late_release_changes_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&you, LONG).await.expect("alive");
    let (mine, _) = acquire(&fresh.store, &scope(), &me).await;
    acquire(&fresh.store, &scope(), &you).await;
    fresh.store.release_scope(&mine).await.expect("not an error");
    assert_eq!(row(&fresh, &scope()).await.owner.as_deref(), Some("n2"));
    assert!(held(&fresh, &scope(), &me).await.is_some());
}

pub async fn leaving_frees_everything(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    for projection in catalogue::ALL {
        acquire(&fresh.store, &Scope::new(&tenant(), projection), &me).await;
    }
    fresh.store.leave(&me).await.expect("gone");
    for projection in catalogue::ALL {
        assert_eq!(held(&fresh, &Scope::new(&tenant(), projection), &you).await, None);
    }
    // The name is free as well.
    fresh.store.heartbeat(&owner("n1"), LONG).await.expect("another incarnation");
}

pub async fn a_name_belongs_to_one_incarnation(blank: Blank) {
    let fresh = blank.migrated().await;
    let (first, second) = (owner("n"), owner("n"));
    fresh.store.heartbeat(&first, LONG).await.expect("alive");
    fresh.store.heartbeat(&first, LONG).await.expect("renewed");
    let fenced = fresh.store.heartbeat(&second, LONG).await.expect_err("the name is taken");
    assert_eq!(fenced.category, Category::Fenced);
    acquire(&fresh.store, &scope(), &first).await;
    fresh.store.heartbeat(&first, Duration::ZERO).await.expect("over at once");
    fresh.store.heartbeat(&second, LONG).await.expect("the lease of the first is over");
    // The scope belonged to the first incarnation. A restart under its name does not own it, but may take it.
    assert!(!row(&fresh, &scope()).await.owner_live);
    assert_eq!(held(&fresh, &scope(), &second).await, None);
    assert_eq!(fresh.store.heartbeat(&first, LONG).await.expect_err("too late").category, Category::Fenced);
}

pub async fn two_processes_take_one_scope(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t"), input("t", 1, "i")]).await;
    let (a, b) = (fresh.again().await, fresh.again().await);
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&me, LONG).await.expect("alive");
    fresh.store.heartbeat(&you, LONG).await.expect("alive");
    let scope = scope();
    let (mine, yours) = tokio::join!(a.store.acquire_scope(&scope, &me), b.store.acquire_scope(&scope, &you));
    let acquired = [mine.expect("an answer"), yours.expect("an answer")]
        .into_iter()
        .filter(|answer| matches!(answer, Acquisition::Acquired(..)))
        .count();
    assert_eq!(acquired, 1);
}

/// A lease with more time left than could be granted was granted before the clock was set back.
pub async fn a_clock_that_is_set_back_freezes_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    let facts = MemberFacts { protocol: 1, ..MemberFacts::default() };
    fresh.store.join(&me, LONG, &facts).await.expect("alive");
    fresh.store.heartbeat(&you, LONG).await.expect("alive");
    acquire(&fresh.store, &scope(), &me).await;
    let run = NewRun {
        run_id: uuid::Uuid::new_v4(),
        tenant: tenant(),
        projections: vec![scope().projection],
        mode: RunMode::CatchUp,
        until: None,
        owner: me.clone(),
        cause: RunCause::default(),
    };
    fresh.store.create_run(&run).await.expect("a job");

    // The clock is set back by less than the lease: the lease lasts a little longer.
    fresh.raw(&blank.clock_set_back(300)).await;
    assert_eq!(held(&fresh, &scope(), &you).await.map(|(by, _)| by).as_deref(), Some("n1"));
    // The clock is set back by more than the lease.
    fresh.raw(&blank.clock_set_back(3_600)).await;
    let view = fresh.store.view().await.expect("a view");
    assert!(!row(&fresh, &scope()).await.owner_live);
    assert!(!view.scope_heads(None, 10).await.expect("heads")[0].owner_live);
    assert_eq!(view.members().await.expect("members")[0].lease_left, Duration::ZERO);
    assert!(!view.run(run.run_id).await.expect("an answer").expect("a job").node_live);
    assert!(!view.runs(&ListFilter { limit: 1, ..ListFilter::default() }).await.expect("jobs").items[0].node_live);
    // A living process renews as always, and keeps its scopes.
    fresh.store.join(&me, LONG, &facts).await.expect("alive");
    assert_eq!(held(&fresh, &scope(), &you).await.map(|(by, _)| by).as_deref(), Some("n1"));
    assert_eq!(
        fresh.store.heartbeat(&owner("n1"), LONG).await.expect_err("the name is taken").category,
        Category::Fenced
    );

    fresh.raw(&blank.clock_set_back(3_600)).await;
    fresh.store.heartbeat(&you, LONG).await.expect("alive");
    let (lease, _) = acquire(&fresh.store, &scope(), &you).await;
    assert_eq!(lease.taken_from.as_deref(), Some("n1"));
    let other = NewRun { run_id: uuid::Uuid::new_v4(), owner: you.clone(), ..run.clone() };
    assert!(fresh.store.create_run(&other).await.expect("the dead one holds nothing").is_new());
    assert_eq!(view.run(run.run_id).await.expect("an answer").expect("a job").state, RunState::Failed);
    fresh.store.heartbeat(&owner("n1"), LONG).await.expect("the name is free");
}

pub async fn a_lease_is_ended_for_a_process_of_this_machine_that_is_gone(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    let this = process::this().expect("Linux");
    let (rest, _start) = this.rsplit_once('/').expect("a start");
    let (place, _number) = rest.rsplit_once('/').expect("a number");
    let boot = place.split('/').next().expect("a boot");
    let elsewhere = place.replacen(boot, "another-boot", 1);
    for (process, ended) in [
        (this.to_owned(), false),
        (format!("{elsewhere}/999999999/1"), false),
        ("what a later program may say".to_owned(), false),
        (format!("{place}/999999999/1"), true),
    ] {
        fresh.store.heartbeat(&me, LONG).await.expect("alive");
        fresh.store.heartbeat(&you, LONG).await.expect("alive");
        acquire(&fresh.store, &scope(), &me).await;
        fresh.raw(&format!("UPDATE dg_node SET process = '{process}' WHERE node = 'n1'")).await;
        let dead = fresh.store.end_leases_of_the_dead().await.expect("an answer");
        assert_eq!(dead, if ended { vec![me.clone()] } else { Vec::new() }, "{process}");
        assert_eq!(held(&fresh, &scope(), &you).await.is_none(), ended, "{process}");
    }
}
