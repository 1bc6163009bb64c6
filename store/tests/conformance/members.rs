//! Membership: reports of nodes, requests of operators, and tenants that change hands.

use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, append_all, compute, origin, owner};
use crate::log::{named, started, tenant};
use decisiongraph_projections::{Category, LogSeq, catalogue};
use decisiongraph_store::*;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn facts(port: u16) -> MemberFacts {
    MemberFacts { address: Some(format!("127.0.0.1:{port}")), program: "1.2.3".to_owned(), protocol: 7 }
}

async fn members(fresh: &Fresh) -> Vec<Member> {
    fresh.store.view().await.expect("a view").members().await.expect("members")
}

pub async fn a_node_says_who_it_is(blank: Blank) {
    let fresh = blank.migrated().await;
    assert_eq!(members(&fresh).await, []);
    let (b, a) = (owner("b"), owner("a"));
    fresh.store.join(&b, LONG, &facts(2)).await.expect("joins");
    fresh.store.join(&a, LONG, &facts(1)).await.expect("joins");
    let first = members(&fresh).await;
    assert_eq!(first.iter().map(|member| &member.owner).collect::<Vec<_>>(), [&a, &b], "by name");
    assert_eq!((&first[0].facts, first[0].cordon.as_ref()), (&facts(1), None));
    assert!(first[0].is_live() && first[0].lease_left <= LONG && first[0].lease_left > LONG / 2, "{first:?}");
    // A renewal may report something new; the day of joining stays.
    fresh.store.join(&a, LONG, &facts(3)).await.expect("renews");
    let again = members(&fresh).await;
    assert_eq!((&again[0].facts, &again[0].joined_at), (&facts(3), &first[0].joined_at));
    let other = fresh.store.join(&owner("a"), LONG, &facts(1)).await.expect_err("the name is taken");
    assert_eq!(other.category, Category::Fenced);
}

pub async fn a_command_at_work_is_no_member(blank: Blank) {
    let fresh = blank.migrated().await;
    let command = owner("command");
    fresh.store.heartbeat(&command, LONG).await.expect("alive");
    acquire(&fresh.store, &Scope::new(&tenant(), catalogue::CONTEXT_GRAPH), &command).await;
    assert_eq!(members(&fresh).await, []);
}

pub async fn a_node_that_left_or_died_owns_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (left, died, you) = (owner("left"), owner("died"), owner("you"));
    for node in [&left, &died, &you] {
        fresh.store.join(node, LONG, &facts(1)).await.expect("joins");
    }
    let scopes =
        [catalogue::CONTEXT_GRAPH, catalogue::TRACE_SUMMARY].map(|projection| Scope::new(&tenant(), projection));
    acquire(&fresh.store, &scopes[0], &left).await;
    acquire(&fresh.store, &scopes[1], &died).await;
    fresh.store.leave(&left).await.expect("leaves");
    fresh.store.join(&died, Duration::ZERO, &facts(1)).await.expect("over at once");
    let known: Vec<_> = members(&fresh).await.into_iter().map(|m| (m.owner.node.clone(), m.is_live())).collect();
    assert_eq!(known, [("died".to_owned(), false), ("you".to_owned(), true)]);
    for scope in &scopes {
        acquire(&fresh.store, scope, &you).await;
    }
}

pub async fn a_node_whose_process_is_gone_is_a_dead_member_until_it_is_forgotten(blank: Blank) {
    let fresh = blank.migrated().await;
    let (gone, you) = (owner("gone"), owner("you"));
    for node in [&gone, &you] {
        fresh.store.join(node, LONG, &facts(1)).await.expect("joins");
    }
    let scope = Scope::new(&tenant(), catalogue::CONTEXT_GRAPH);
    acquire(&fresh.store, &scope, &gone).await;
    assert!(!fresh.store.forget("gone").await.expect("asked"), "it lives");
    fresh.store.bury(&owner("gone")).await.expect("another incarnation: nothing to do");
    assert!(members(&fresh).await[0].is_live());
    fresh.store.bury(&gone).await.expect("its lease is ended");
    acquire(&fresh.store, &scope, &you).await;
    let dead = members(&fresh).await.remove(0);
    assert_eq!((&dead.owner, dead.is_live()), (&gone, false), "it is still told of");
    fresh.store.bury(&gone).await.expect("again");
    while members(&fresh).await[0].dead_for.is_zero() {}
    // If the node were alive after all, its next heartbeat would bring it back.
    fresh.store.join(&gone, LONG, &facts(1)).await.expect("renews");
    let back = members(&fresh).await.remove(0);
    assert_eq!((back.is_live(), back.dead_for), (true, Duration::ZERO));
    fresh.store.bury(&gone).await.expect("its lease is ended");
    fresh.store.cordon("gone", true, "disk", "ada").await.expect("drains");
    assert!(fresh.store.forget("gone").await.expect("forgotten"));
    assert!(!fresh.store.forget("gone").await.expect("asked"), "it is forgotten already");
    assert_eq!(members(&fresh).await.len(), 1);
    fresh.store.join(&owner("gone"), LONG, &facts(1)).await.expect("a new node of this name");
    assert_eq!(members(&fresh).await[0].cordon, None, "what was wanted of the former one is forgotten, too");
}

pub async fn a_cordon_holds_by_name(blank: Blank) {
    let fresh = blank.migrated().await;
    fresh.store.cordon("n", false, "disk", "ada").await.expect("noted before it is there");
    let first = owner("n");
    fresh.store.join(&first, LONG, &facts(1)).await.expect("joins");
    let cordon = members(&fresh).await.remove(0).cordon.expect("cordoned");
    assert_eq!((cordon.draining, cordon.reason.as_str(), cordon.by.as_str()), (false, "disk", "ada"));
    fresh.store.leave(&first).await.expect("leaves");
    fresh.store.join(&owner("n"), LONG, &facts(1)).await.expect("another incarnation");
    fresh.store.cordon("n", true, "gone soon", "bob").await.expect("the latest word counts");
    let cordon = members(&fresh).await.remove(0).cordon.expect("cordoned");
    assert_eq!((cordon.draining, cordon.by.as_str()), (true, "bob"));
    fresh.store.uncordon("n").await.expect("ends");
    fresh.store.uncordon("n").await.expect("again");
    assert_eq!(members(&fresh).await.remove(0).cordon, None);
}

pub async fn tenants_are_handed_over(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let (me, you) = (owner("me"), owner("you"));
    for node in [&me, &you] {
        fresh.store.join(node, LONG, &facts(1)).await.expect("joins");
    }
    let projection = catalogue::CONTEXT_GRAPH;
    let scope = Scope::new(&tenant(), projection);
    let (lease, position) = acquire(&fresh.store, &scope, &me).await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.tenants_of(&me).await.expect("tenants"), [tenant()]);
    assert_eq!(fresh.store.hand_over(&me, &[tenant(), named("unknown")]).await.expect("handed over"), 1);
    assert_eq!(view.tenants_of(&me).await.expect("tenants"), []);
    // A batch that the former owner still prepares is void, before and after the next owner has the scope.
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), projection, lease.generation, &position, &events).await;
    let fenced = fresh.store.commit(&lease, &computed.batch(projection)).await.expect_err("a void lease");
    assert_eq!(fenced.category, Category::Fenced);
    let (_, position) = acquire(&fresh.store, &scope, &you).await;
    assert_eq!(position, origin(projection));
}

pub async fn a_hand_over_leaves_others_alone(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("me"), owner("you"));
    for node in [&me, &you] {
        fresh.store.join(node, LONG, &facts(1)).await.expect("joins");
    }
    let (mine, kept) = (named("mine"), named("kept"));
    for tenant in [&mine, &kept] {
        acquire(&fresh.store, &Scope::new(tenant, catalogue::CONTEXT_GRAPH), &me).await;
    }
    acquire(&fresh.store, &Scope::new(&mine, catalogue::TRACE_SUMMARY), &you).await;
    assert_eq!(fresh.store.hand_over(&me, std::slice::from_ref(&mine)).await.expect("handed over"), 1);
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.tenants_of(&me).await.expect("tenants"), [kept]);
    assert_eq!(view.tenants_of(&you).await.expect("tenants"), [mine]);
}
